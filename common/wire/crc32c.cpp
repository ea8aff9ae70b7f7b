#include "common/wire/crc32c.h"

#include <cstring>

namespace walferry::wire {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;

struct Tables {
    uint32_t byte[256];
    // Advances a register over kBlock zero bytes, one table for each of its bytes.
    uint32_t skip[4][256];
};

constexpr size_t kBlock = 1024;

constexpr Tables make_tables() {
    Tables t{};
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ kPolynomial : crc >> 1;
        t.byte[i] = crc;
    }
    // The register is linear over GF(2): skipping zeros maps each single bit by itself.
    uint32_t image[32] = {};
    for (int bit = 0; bit < 32; bit++) {
        uint32_t crc = 1u << bit;
        for (size_t i = 0; i < kBlock; i++) crc = crc >> 8 ^ t.byte[crc & 0xff];
        image[bit] = crc;
    }
    for (int lane = 0; lane < 4; lane++) {
        for (uint32_t v = 0; v < 256; v++) {
            uint32_t crc = 0;
            for (int bit = 0; bit < 8; bit++) {
                if (v >> bit & 1) crc ^= image[8 * lane + bit];
            }
            t.skip[lane][v] = crc;
        }
    }
    return t;
}

constexpr Tables kTables = make_tables();

uint32_t by_table(uint32_t crc, const uint8_t* p, size_t size) {
    for (; size; size--) crc = crc >> 8 ^ kTables.byte[(crc ^ *p++) & 0xff];
    return crc;
}

#if defined(__x86_64__)
uint32_t skip_block(uint32_t crc) {
    return kTables.skip[0][crc & 0xff] ^ kTables.skip[1][crc >> 8 & 0xff] ^
           kTables.skip[2][crc >> 16 & 0xff] ^ kTables.skip[3][crc >> 24];
}

inline uint64_t load_u64(const uint8_t* p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

// The instruction gives a result every cycle but takes three: three blocks side by side keep it busy.
__attribute__((target("sse4.2"))) uint32_t by_instruction(uint32_t crc, const uint8_t* p, size_t size) {
    uint64_t a = crc;
    while (size >= 3 * kBlock) {
        uint64_t b = 0, c = 0;
        for (size_t i = 0; i < kBlock; i += 8) {
            a = __builtin_ia32_crc32di(a, load_u64(p + i));
            b = __builtin_ia32_crc32di(b, load_u64(p + kBlock + i));
            c = __builtin_ia32_crc32di(c, load_u64(p + 2 * kBlock + i));
        }
        a = skip_block(skip_block(uint32_t(a)) ^ uint32_t(b)) ^ uint32_t(c);
        p += 3 * kBlock;
        size -= 3 * kBlock;
    }
    for (; size >= 8; p += 8, size -= 8) a = __builtin_ia32_crc32di(a, load_u64(p));
    for (; size; size--) a = __builtin_ia32_crc32qi(uint32_t(a), *p++);
    return uint32_t(a);
}
#endif

}  // namespace

uint32_t crc32c(uint32_t crc, const uint8_t* data, size_t size) {
    crc = ~crc;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) return ~by_instruction(crc, data, size);
#endif
    return ~by_table(crc, data, size);
}

}  // namespace walferry::wire
