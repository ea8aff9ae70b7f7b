// Preloaded into a process under test: the wall clock that it reads is off by as many seconds as the file $CLOCK_OFFSET
// holds (a 64-bit number, changed while the process runs). Waits until a time of the wall clock end by that clock, also
// when it is set meanwhile, as the kernel's do; monotonic clocks are right.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

enum { kSliceNanoseconds = 50000000, kSecond = 1000000000 };

static volatile int64_t *offset;
static int (*real_clock_gettime)(clockid_t, struct timespec *);
static int (*real_cond_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

__attribute__((constructor)) static void start(void) {
    if (offset != NULL) return;
    real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    // The first version of this function, which plain dlsym may find, expects another layout of the condition.
    void *wait = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (wait == NULL) wait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    real_cond_timedwait = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))wait;
    const char *path = getenv("CLOCK_OFFSET");
    const int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || real_clock_gettime == NULL || wait == NULL) abort();
    void *mapped = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) abort();
    close(file);
    offset = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    start();  // another library's constructor may have come first
    const int result = real_clock_gettime(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *offset;
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec precise;
    const int result = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return result;
}

int timespec_get(struct timespec *now, int base) {
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, now) == 0 ? base : 0;
}

time_t time(time_t *store) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (store != NULL) *store = precise.tv_sec;
    return precise.tv_sec;
}

static int before(const struct timespec *a, const struct timespec *b) {
    return a->tv_sec < b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec < b->tv_nsec);
}

// In slices, because the clock may be set during each. The mutex is held between them, so no signal is missed.
int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    for (;;) {
        start();
        struct timespec end;
        real_clock_gettime(CLOCK_REALTIME, &end);
        end.tv_nsec += kSliceNanoseconds;
        end.tv_sec += end.tv_nsec / kSecond;
        end.tv_nsec %= kSecond;
        const struct timespec meant = {until->tv_sec - *offset, until->tv_nsec};
        const int result = real_cond_timedwait(condition, mutex, before(&meant, &end) ? &meant : &end);
        if (result != ETIMEDOUT) return result;
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        if (!before(&now, until)) return ETIMEDOUT;
    }
}

// glibc's C11 threads are its POSIX threads by other names.
int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    switch (pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until)) {
        case 0: return thrd_success;
        case ETIMEDOUT: return thrd_timedout;
        default: return thrd_error;
    }
}
