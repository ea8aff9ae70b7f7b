// The hash that chooses a record's partition: partition = hash % partitions of the topic, hash never
// negative.
//
// Two families. `murmur2` is that of Kafka's own clients, so topics are co-partitioned with what any Java
// producer writes under the same key. `java` is String.hashCode() as Canal and DTS use it; several key values
// are combined by exclusive or, a null counts as the empty string.
#pragma once

#include <cstdint>
#include <string_view>

namespace walferry {

enum class HashFamily { murmur2, java };

// Everything goes to partition 0.
constexpr uint32_t kPartitionZero = 0;

// org.apache.kafka.common.utils.Utils.murmur2.
int32_t murmur2(std::string_view bytes);

// Utils.toPositive(murmur2(key)): what Kafka's clients reduce by the number of partitions. `key`: the message
// key.
inline uint32_t kafka_partition_hash(std::string_view key) {
    return static_cast<uint32_t>(murmur2(key)) & 0x7FFFFFFFU;
}

// java.lang.String.hashCode() of a UTF-8 text, over its UTF-16 units. A malformed sequence counts as one
// U+FFFD for each byte.
int32_t java_string_hash(std::string_view utf8);

// Collects the values of one key for the java family.
class JavaKeyHash {
 public:
    void add(std::string_view utf8_value) { hash_ ^= java_string_hash(utf8_value); }
    void add_null() {}  // "".hashCode() is 0

    // |hash|. Java's Math.abs leaves the smallest integer negative and takes the absolute value again after
    // the remainder; unsigned arithmetic gives the same partition.
    uint32_t partition_hash() const {
        const auto bits = static_cast<uint32_t>(hash_);
        return hash_ < 0 ? 0U - bits : bits;
    }

 private:
    int32_t hash_ = 0;
};

// Partitioning by table. murmur2: of "schema.table"; java: of both names, combined as key values are.
uint32_t table_partition_hash(HashFamily family, std::string_view schema, std::string_view table);

}  // namespace walferry
