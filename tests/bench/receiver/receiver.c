/*
 * receiver DSN SLOT END_LSN [NAME=VALUE ...]: drains a logical slot up to END_LSN, throws the data away, and
 * reads the walsender's CPU time and memory while the connection is still open, which pg_recvlogical cannot.
 *
 * DSN is a libpq string with replication=database; NAME=VALUE are options of the output plugin. The server is
 * on this machine: its process is read through its CPU clock and /proc. One line of JSON goes to standard
 * output. Nothing is confirmed to the server.
 */
#include <endian.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <time.h>

enum { kDataHeader = 25, kKeepalive = 18 }; /* protocol-replication: XLogData and primary keepalive */
enum { kStatusUpdate = 34 };                /* standby status update */

static void fail(const char* what, const char* why) {
    fprintf(stderr, "receiver: %s: %s\n", what, why);
    exit(1);
}

static double seconds(clockid_t clock) {
    struct timespec now;
    if (clock_gettime(clock, &now) != 0) fail("clock_gettime", "the walsender has ended");
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static uint64_t read_u64(const char* at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return be64toh(value);
}

static uint64_t parse_lsn(const char* text) {
    uint32_t high, low;
    if (sscanf(text, "%" SCNx32 "/%" SCNx32, &high, &low) != 2) fail("not an LSN", text);
    return (uint64_t)high << 32 | low;
}

/* A field such as VmHWM of /proc/PID/status, in kB. */
static long memory_kb(pid_t pid, const char* field) {
    char path[64], line[256];
    long value = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE* file = fopen(path, "r");
    if (file == NULL) fail(path, "cannot be read");
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, field, strlen(field)) == 0) value = strtol(line + strlen(field) + 1, NULL, 10);
    fclose(file);
    return value;
}

/* "I am here": positions of zero confirm nothing. Keeps the server from ending a drain that takes minutes. */
static void send_status(PGconn* connection) {
    char message[kStatusUpdate] = {'r'};
    if (PQputCopyData(connection, message, sizeof message) != 1 || PQflush(connection) != 0)
        fail("status update", PQerrorMessage(connection));
}

static void start(PGconn* connection, const char* slot, int option_count, char** options) {
    char command[4096];
    size_t size =
        (size_t)snprintf(command, sizeof command, "START_REPLICATION SLOT \"%s\" LOGICAL 0/0", slot);
    for (int i = 0; i < option_count && size < sizeof command; i++) {
        const char* equals = strchr(options[i], '=');
        if (equals == NULL) fail("not an option", options[i]);
        char* value = PQescapeLiteral(connection, equals + 1, strlen(equals + 1));
        if (value == NULL) fail("option", PQerrorMessage(connection));
        size += (size_t)snprintf(command + size, sizeof command - size, "%s\"%.*s\" %s", i == 0 ? " (" : ", ",
                                 (int)(equals - options[i]), options[i], value);
        PQfreemem(value);
    }
    if (option_count > 0 && size < sizeof command)
        size += (size_t)snprintf(command + size, sizeof command - size, ")");
    if (size >= sizeof command) fail("options", "too long");

    PGresult* result = PQexec(connection, command);
    if (PQresultStatus(result) != PGRES_COPY_BOTH) fail(command, PQerrorMessage(connection));
    PQclear(result);
}

int main(int argc, char** argv) {
    if (argc < 4) fail("usage", "receiver DSN SLOT END_LSN [NAME=VALUE ...]");
    uint64_t end = parse_lsn(argv[3]);
    PGconn* connection = PQconnectdb(argv[1]);
    if (PQstatus(connection) != CONNECTION_OK) fail("connection", PQerrorMessage(connection));
    pid_t walsender = (pid_t)PQbackendPID(connection);
    clockid_t walsender_clock;
    if (clock_getcpuclockid(walsender, &walsender_clock) != 0)
        fail("walsender", "is not a process of this machine");

    double cpu_start = seconds(walsender_clock), start_time = seconds(CLOCK_MONOTONIC);
    start(connection, argv[2], argc - 4, argv + 4);

    uint64_t bytes = 0, messages = 0, position = 0;
    double first_data = 0;
    while (position < end) {
        char* copy = NULL;
        int size = PQgetCopyData(connection, &copy, 0);
        if (size < 0) {
            PGresult* result = PQgetResult(connection);
            fail("the stream ended",
                 result != NULL ? PQresultErrorMessage(result) : PQerrorMessage(connection));
        }
        if (copy[0] == 'w' && size >= kDataHeader) {
            if (messages == 0) first_data = seconds(CLOCK_MONOTONIC);
            bytes += (uint64_t)size - kDataHeader;
            messages++;
        } else if (copy[0] == 'k' && size >= kKeepalive) {
            /* Only a keepalive tells that everything up to a position is decoded: data of a later transaction
             * may carry lower positions, and a plugin may leave transactions out. The server sends one when
             * it runs dry. */
            position = read_u64(copy + 1);
            if (copy[kKeepalive - 1]) send_status(connection);
        }
        PQfreemem(copy);
    }
    double end_time = seconds(CLOCK_MONOTONIC), cpu_end = seconds(walsender_clock);

    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    printf(
        "{\"wall_s\": %.6f, \"first_data_s\": %.6f, \"walsender_cpu_s\": %.6f, \"walsender_peak_rss_kb\": "
        "%ld, "
        "\"walsender_private_kb\": %ld, \"bytes\": %" PRIu64 ", \"messages\": %" PRIu64
        ", \"receiver_cpu_s\": %.6f}\n",
        end_time - start_time, messages > 0 ? first_data - start_time : 0.0, cpu_end - cpu_start,
        memory_kb(walsender, "VmHWM:"), memory_kb(walsender, "RssAnon:"), bytes, messages,
        (double)own.ru_utime.tv_sec + (double)own.ru_utime.tv_usec * 1e-6 + (double)own.ru_stime.tv_sec +
            (double)own.ru_stime.tv_usec * 1e-6);
    PQfinish(connection);
    return 0;
}
