#include <cstring>
#include <random>
#include <string>

#include "common_wire_support.h"

namespace walferry::wire::test {
namespace {

// The number and how many bytes it took; 0 bytes for a refusal.
struct Loaded {
    uint32_t value = 0;
    size_t bytes = 0;
};

Loaded load(const std::string& bytes) {
    Frame exact(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    Loaded result;
    const uint8_t* end = load_varint(exact.data(), exact.data() + exact.size(), &result.value);
    result.bytes = end ? size_t(end - exact.data()) : 0;
    return result;
}

TEST(Varint, TakesSevenBitsAByte) {
    EXPECT_EQ(varint(0), std::string(1, '\0'));
    EXPECT_EQ(varint(1), "\x01");
    EXPECT_EQ(varint(127), "\x7f");
    EXPECT_EQ(varint(128), "\x80\x01");
    EXPECT_EQ(varint(300), "\xac\x02");
    EXPECT_EQ(varint(16383), "\xff\x7f");
    EXPECT_EQ(varint(16384), "\x80\x80\x01");
    EXPECT_EQ(varint(UINT32_MAX), "\xff\xff\xff\xff\x0f");
}

TEST(Varint, ReadsBackEveryPowerAndItsNeighbours) {
    for (int bit = 0; bit < 32; bit++) {
        for (uint32_t v : {(1u << bit) - 1, 1u << bit, (1u << bit) + 1}) {
            std::string bytes = varint(v);
            Loaded back = load(bytes);
            ASSERT_EQ(back.bytes, bytes.size()) << v;
            ASSERT_EQ(back.value, v);
            for (size_t cut = 0; cut < bytes.size(); cut++) ASSERT_EQ(load(bytes.substr(0, cut)).bytes, 0u);
            ASSERT_EQ(load(bytes + "\x55").bytes, bytes.size())
                << "the byte after it belongs to someone else";
        }
    }
}

TEST(Varint, RefusesMoreThan32Bits) {
    EXPECT_EQ(load("\xff\xff\xff\xff\x10").bytes, 0u);
    EXPECT_EQ(load("\x80\x80\x80\x80\x10").bytes, 0u);
    EXPECT_EQ(load("\xff\xff\xff\xff\x7f").bytes, 0u);
    EXPECT_EQ(load("\xff\xff\xff\xff\x8f\x01").bytes, 0u);
    EXPECT_EQ(load(std::string(10, char(0x80))).bytes, 0u);
    EXPECT_EQ(load(std::string(10, char(0xff))).bytes, 0u);
}

TEST(Varint, ReadsNumbersLongerThanNeeded) {
    Loaded zero = load(std::string("\x80\x00", 2));
    EXPECT_EQ(zero.bytes, 2u);
    EXPECT_EQ(zero.value, 0u);
    Loaded one = load(std::string("\x81\x80\x80\x80\x00", 5));
    EXPECT_EQ(one.bytes, 5u);
    EXPECT_EQ(one.value, 1u);
}

TEST(FixedNumbers, AreLittleEndianAtAnyAddress) {
    std::mt19937 random(7);
    for (size_t shift = 0; shift < 4; shift++) {
        uint8_t memory[8] = {};
        store_u32(memory + shift, 0x12345678);
        EXPECT_EQ(memory[shift], 0x78);
        EXPECT_EQ(memory[shift + 3], 0x12);
        for (int i = 0; i < 100; i++) {
            uint32_t v = uint32_t(random());
            store_u32(memory + shift, v);
            EXPECT_EQ(load_u32(memory + shift), v);
        }
    }
}

}  // namespace
}  // namespace walferry::wire::test
