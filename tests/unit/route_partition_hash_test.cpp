#include "route/partition_hash.h"

#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace walferry {
namespace {

// The vectors of Kafka's own UtilsTest.testMurmur2.
TEST(Murmur2, GivesTheValuesOfKafkasOwnTest) {
    EXPECT_EQ(murmur2("21"), -973932308);
    EXPECT_EQ(murmur2("foobar"), -790332482);
    EXPECT_EQ(murmur2("a-little-bit-long-string"), -985981536);
    EXPECT_EQ(murmur2("a-little-bit-longer-string"), -1486304829);
    EXPECT_EQ(murmur2("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8"), -58897971);
    EXPECT_EQ(murmur2("abc"), 479470107);
}

TEST(Murmur2, ClearsTheSignAsKafkasToPositiveDoes) {
    EXPECT_EQ(kafka_partition_hash("21"), static_cast<uint32_t>(-973932308) & 0x7FFFFFFFU);
    EXPECT_EQ(kafka_partition_hash("abc"), 479470107U);
}

TEST(Murmur2, TakesBytesWithTheHighBitAsUnsigned) {
    // Over every tail length, so that no branch takes them as signed.
    EXPECT_NE(murmur2("\xFF"), murmur2("\x7F"));
    EXPECT_NE(murmur2("ab\xFF"), murmur2("ab\x7F"));
    EXPECT_NE(murmur2(std::string_view("\0", 1)), murmur2(""));
}

TEST(JavaStringHash, GivesTheDocumentedValues) {
    EXPECT_EQ(java_string_hash(""), 0);
    EXPECT_EQ(java_string_hash("a"), 97);
    EXPECT_EQ(java_string_hash("hello"), 99162322);
    EXPECT_EQ(java_string_hash("polygenelubricants"), INT32_MIN);
}

TEST(JavaStringHash, CountsUtf16UnitsNotBytes) {
    EXPECT_EQ(java_string_hash("\xC3\xA9"), 0xE9);                          // é
    EXPECT_EQ(java_string_hash("\xE4\xB8\xAD"), 0x4E2D);                    // 中
    EXPECT_EQ(java_string_hash("\xF0\x9F\x98\x80"), 31 * 0xD83D + 0xDE00);  // outside the BMP: two units
}

TEST(JavaStringHash, ReplacesMalformedBytesAndNeverReadsPastTheEnd) {
    EXPECT_EQ(java_string_hash("\x80"), 0xFFFD);
    EXPECT_EQ(java_string_hash("\xC3"), 0xFFFD);
    EXPECT_EQ(java_string_hash("\xE4\xB8"), 31 * 0xFFFD + 0xFFFD);
    EXPECT_EQ(java_string_hash("\xC0\x80"), 31 * 0xFFFD + 0xFFFD);  // overlong
    EXPECT_EQ(java_string_hash("\xC3"
                               "a"),
              31 * 0xFFFD + 'a');
    EXPECT_EQ(java_string_hash("\xED\xA0\x80"), 31 * (31 * 0xFFFD + 0xFFFD) + 0xFFFD);  // lone surrogate
}

TEST(JavaKeyHash, CombinesValuesByExclusiveOr) {
    JavaKeyHash hash;
    hash.add("hello");
    EXPECT_EQ(hash.partition_hash(), 99162322U);
    hash.add_null();
    hash.add("a");
    EXPECT_EQ(hash.partition_hash(), 99162322U ^ 97U);
}

// Math.abs(Math.abs(hash) % n) in Java.
uint32_t java_partition(int32_t hash, int32_t n) {
    const int32_t absolute = hash == INT32_MIN ? INT32_MIN : (hash < 0 ? -hash : hash);
    const int32_t remainder = absolute % n;
    return static_cast<uint32_t>(remainder < 0 ? -remainder : remainder);
}

TEST(JavaKeyHash, ReducesToThePartitionThatJavaWouldTake) {
    for (const std::string_view value :
         {"hello", "foobar", "polygenelubricants", "", "zzzzzzz", "key-4711"}) {
        JavaKeyHash hash;
        hash.add(value);
        for (const int32_t n : {1, 2, 3, 7, 12, 100, 1 << 20})
            EXPECT_EQ(hash.partition_hash() % static_cast<uint32_t>(n),
                      java_partition(java_string_hash(value), n));
    }
}

TEST(TablePartitionHash, DependsOnSchemaAndTable) {
    EXPECT_EQ(table_partition_hash(HashFamily::murmur2, "public", "orders"),
              kafka_partition_hash("public.orders"));
    JavaKeyHash both;
    both.add("public");
    both.add("orders");
    EXPECT_EQ(table_partition_hash(HashFamily::java, "public", "orders"), both.partition_hash());
}

}  // namespace
}  // namespace walferry
