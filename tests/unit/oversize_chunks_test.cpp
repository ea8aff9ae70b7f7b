#include "oversize/chunks.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

namespace walferry {
namespace {

TEST(Chunks, CoverTheValueInOrderAndDifferByAByteAtMost) {
    std::string value;
    for (int i = 0; i < 1000; ++i) value += static_cast<char>(i % 251);
    for (const uint64_t room : {1, 7, 333, 334, 499, 500, 999, 1000, 1001}) {
        const uint64_t count = chunk_count(value.size(), room);
        EXPECT_EQ(count, (value.size() + room - 1) / room);
        std::string whole;
        for (uint64_t i = 0; i < count; ++i) {
            const std::string_view part = chunk(value, i, count);
            EXPECT_LE(part.size(), room);
            EXPECT_GE(part.size(), value.size() / count);
            EXPECT_LE(part.size(), value.size() / count + 1);
            whole += part;
        }
        EXPECT_EQ(whole, value) << room;
    }
}

TEST(Chunks, AnEmptyValueIsOneChunk) {
    EXPECT_EQ(chunk_count(0, 10), 1U);
    EXPECT_EQ(chunk("", 0, 1), "");
}

// Of memory that may not even be read: only the borders are calculated.
TEST(Chunks, OfAGigabyteHaveRightBorders) {
    constexpr size_t kSize = (size_t{1} << 30) - 1;
    void* memory = mmap(nullptr, kSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    const std::string_view value(static_cast<const char*>(memory), kSize);
    const uint64_t count = chunk_count(value.size(), 10'000);
    const char* next = value.data();
    for (uint64_t i = 0; i < count; ++i) {
        const std::string_view part = chunk(value, i, count);
        ASSERT_EQ(part.data(), next);
        ASSERT_LE(part.size(), 10'000U);
        next += part.size();
    }
    EXPECT_EQ(next, value.data() + value.size());
    munmap(memory, kSize);
}

TEST(Chunks, OnlyTheLastHasTheRecordsPosition) {
    EXPECT_EQ(chunk_position("7:1:0/AB:3", 0, 3), "7:1:0/AB:3.c1");
    EXPECT_EQ(chunk_position("7:1:0/AB:3.2", 1, 3), "7:1:0/AB:3.2.c2");
    EXPECT_EQ(chunk_position("7:1:0/AB:3", 2, 3), "7:1:0/AB:3");
    EXPECT_EQ(chunk_position("7:1:0/AB:3", 0, 1), "7:1:0/AB:3");
}

TEST(Chunks, ChecksumIsThatOfZlib) {
    EXPECT_EQ(checksum_text("123456789"), "crc32:cbf43926");
    EXPECT_EQ(checksum_text(""), "crc32:00000000");
}

}  // namespace
}  // namespace walferry
