// CRC-32C against published vectors and a bit-by-bit reference, in both implementations: the one that this
// machine chooses and the one by tables, which is compiled here under another name.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "common/wire/crc32c.h"

#undef __x86_64__
#define crc32c crc32c_by_table
#include "common/wire/crc32c.cpp"
#undef crc32c

namespace walferry::wire {

uint32_t crc32c_by_table(uint32_t crc, const uint8_t* data, size_t size);

namespace {

uint32_t reference(uint32_t crc, const uint8_t* data, size_t size) {
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
    }
    return ~crc;
}

using Function = uint32_t (*)(uint32_t, const uint8_t*, size_t);

class Crc32c : public testing::TestWithParam<Function> {
 protected:
    uint32_t of(const std::vector<uint8_t>& bytes) { return GetParam()(0, bytes.data(), bytes.size()); }
    uint32_t of(const std::string& text) { return of(std::vector<uint8_t>(text.begin(), text.end())); }
};

INSTANTIATE_TEST_SUITE_P(Implementations, Crc32c, testing::Values(&crc32c, &crc32c_by_table),
                         [](const auto& test) { return test.index == 0 ? "Chosen" : "ByTable"; });

std::vector<uint8_t> noise(size_t size) {
    std::mt19937 random(20260101);
    std::vector<uint8_t> bytes(size);
    for (uint8_t& b : bytes) b = uint8_t(random());
    return bytes;
}

TEST_P(Crc32c, GivesThePublishedCheckValues) {
    EXPECT_EQ(of(std::string()), 0u);
    EXPECT_EQ(of(std::string("a")), 0xc1d04330u);
    EXPECT_EQ(of(std::string("123456789")), 0xe3069283u);
    EXPECT_EQ(of(std::string("The quick brown fox jumps over the lazy dog")), 0x22620404u);
}

// RFC 3720, appendix B.4; the RFC prints the bytes in the order of the wire.
TEST_P(Crc32c, GivesTheVectorsOfRfc3720) {
    std::vector<uint8_t> up(32), down(32);
    for (size_t i = 0; i < 32; i++) {
        up[i] = uint8_t(i);
        down[i] = uint8_t(31 - i);
    }
    EXPECT_EQ(of(std::vector<uint8_t>(32, 0x00)), 0x8a9136aau);
    EXPECT_EQ(of(std::vector<uint8_t>(32, 0xff)), 0x62a8ab43u);
    EXPECT_EQ(of(up), 0x46dd794eu);
    EXPECT_EQ(of(down), 0x113fdb5cu);
    std::vector<uint8_t> read_command = {
        0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18,
        0x28, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    };
    EXPECT_EQ(of(read_command), 0xd9963a56u);
}

TEST_P(Crc32c, AgreesWithTheReferenceForEveryLength) {
    std::vector<uint8_t> bytes = noise(5000);
    uint32_t prefix = 0;
    for (size_t size = 0; size <= bytes.size(); size++) {
        ASSERT_EQ(GetParam()(0, bytes.data(), size), prefix) << size;
        if (size < bytes.size()) prefix = reference(prefix, &bytes[size], 1);
    }
}

TEST_P(Crc32c, AgreesWithTheReferenceAtEveryAlignment) {
    std::vector<uint8_t> bytes = noise(7000);
    for (size_t start = 0; start < 16; start++) {
        for (size_t size : {0u, 1u, 7u, 8u, 9u, 1023u, 1024u, 3071u, 3072u, 3073u, 6144u, 6500u}) {
            ASSERT_EQ(GetParam()(0, &bytes[start], size), reference(0, &bytes[start], size))
                << start << " " << size;
        }
    }
}

TEST_P(Crc32c, ContinuesFromAnyCut) {
    std::vector<uint8_t> bytes = noise(9001);
    uint32_t whole = reference(0, bytes.data(), bytes.size());
    for (size_t cut = 0; cut <= bytes.size(); cut += 17) {
        uint32_t first = GetParam()(0, bytes.data(), cut);
        ASSERT_EQ(GetParam()(first, bytes.data() + cut, bytes.size() - cut), whole) << cut;
    }
}

TEST(FrameChecksum, LeavesOutItsOwnFourBytes) {
    std::vector<uint8_t> frame = noise(100);
    uint32_t before = frame_checksum(frame.data(), frame.size());
    std::vector<uint8_t> covered(frame.begin(), frame.begin() + 3);
    covered.insert(covered.end(), frame.begin() + 7, frame.end());
    EXPECT_EQ(before, reference(0, covered.data(), covered.size()));
    for (size_t i = 0; i < frame.size(); i++) {
        frame[i] ^= 1;
        bool own = i >= 3 && i < 7;
        EXPECT_EQ(frame_checksum(frame.data(), frame.size()) == before, own) << i;
        frame[i] ^= 1;
    }
    EXPECT_EQ(frame_checksum(frame.data(), 7), reference(0, frame.data(), 3));
}

}  // namespace
}  // namespace walferry::wire
