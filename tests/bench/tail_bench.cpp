// How soon a start knows what a crash has left in Kafka: reading one long tail, and the short tails of many
// topics. Makes its topics on a broker that is running. Not part of `make check`:
//   cmake --build BUILD --target tail_bench && BUILD/tail_bench BROKERS [records [topics [partitions]]]
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include <spdlog/spdlog.h>

#include "common/types.h"
#include "delivery/read_back.h"
#include "error/error.h"
#include "sink/kafka_sink.h"
#include "sink/topics.h"

namespace {

using namespace walferry;
using Clock = std::chrono::steady_clock;

constexpr uint64_t kSystem = 7312345678901234567;
constexpr uint64_t kRecordsOfTopic = 5;  // in each of the many
constexpr size_t kValueBytes = 400;
constexpr size_t kVariedBytes =
    100;  // of them; the rest is the same in each record, as the names in JSON are
constexpr int kRepetitions = 5;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

double cpu_seconds() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) { return double(time.tv_sec) + double(time.tv_usec) / 1e6; };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::string position_text(uint64_t ordinal) {
    return std::to_string(kSystem) + ":1:1/2A3B4C58:" + std::to_string(ordinal);
}

void produce(KafkaSink& sink, TopicHandle topic, uint64_t ordinal) {
    const std::string key = "{\"id\":\"" + std::to_string(ordinal) + "\"}";
    static std::minstd_rand random;
    static std::string value(kValueBytes, 'v');
    for (size_t i = 0; i < kVariedBytes; ++i) value[i] = static_cast<char>('0' + random() % 10);
    while (sink.produce(topic.of[0], key, value, position_text(ordinal), static_cast<uint32_t>(ordinal), 0) ==
           Produced::queue_full)
        static_cast<void>(sink.poll(std::chrono::milliseconds(10)));
}

void flush(KafkaSink& sink) {
    if (!sink.flush(std::chrono::seconds(60), [](auto) {})) std::exit(1);
}

ReadBack::Scope everything() {
    return {.system = SystemId{kSystem}, .after = Lsn{1}, .ends = {{Timeline{1}, Lsn{UINT64_MAX}}}};
}

// The best and the median of some runs of `read`, which says how many messages it has found.
template <typename Read>
void measure(const char* name, uint64_t expected, const Read& read) {
    std::vector<double> seconds;
    std::vector<double> cpu;
    for (int run = 0; run < kRepetitions; ++run) {
        const auto start = Clock::now();
        const double cpu_start = cpu_seconds();
        const uint64_t found = read();
        seconds.push_back(seconds_since(start));
        cpu.push_back(cpu_seconds() - cpu_start);
        if (found == expected) continue;
        std::fprintf(stderr, "%s: found %lu of %lu messages\n", name, found, expected);
        std::exit(1);
    }
    std::sort(seconds.begin(), seconds.end());
    std::sort(cpu.begin(), cpu.end());
    std::printf("%-44s best %6.2f s, median %6.2f s, CPU %6.2f s, %9.0f records/s\n", name, seconds.front(),
                seconds[kRepetitions / 2], cpu.front(), double(expected) / seconds.front());
    std::fflush(stdout);
}

int run(const std::string& brokers, uint64_t records, size_t topics, int partitions) {
    SinkOptions options;
    options.brokers = brokers;
    options.topic_partitions = partitions;
    options.request_timeout = std::chrono::seconds(60);
    options.queue_bytes = size_t{64} << 20;
    KafkaSink sink(options);
    sink.connect();
    const std::string prefix = "tail" + std::to_string(std::random_device()()) + ".";
    const std::string single = prefix + "single";
    const auto going = [] { return true; };
    {
        Topics made({&sink});
        const TopicHandle topic = made.get(single);
        for (uint64_t i = 0; i < records; ++i) produce(sink, topic, i);
        flush(sink);
    }
    PartitionOffsets from;
    for (int32_t i = 0; i < partitions; ++i) from[single][i] = 0;
    measure("one topic", records, [&] {
        ReadBack back(options, everything(), from, going);
        back.load_known();
        return back.messages();
    });

    std::vector<std::string> names;
    for (size_t i = 0; i < topics; ++i) names.push_back(prefix + "table_" + std::to_string(i));
    {
        Topics made({&sink});
        made.ensure(names);
        for (size_t i = 0; i < topics; ++i) {
            const TopicHandle topic = made.get(names[i]);
            for (uint64_t j = 0; j < kRecordsOfTopic; ++j) produce(sink, topic, i * kRecordsOfTopic + j);
        }
        flush(sink);
    }
    from.clear();
    for (const std::string& name : names)
        for (int32_t i = 0; i < partitions; ++i) from[name][i] = 0;
    measure("many topics, named by the progress record", topics * kRecordsOfTopic, [&] {
        ReadBack back(options, everything(), from, going);
        back.load_known();
        return back.messages();
    });
    measure("many topics, not named", topics * kRecordsOfTopic, [&] {
        ReadBack back(options, everything(), {}, going);
        back.load_known();
        for (const std::string& name : names) static_cast<void>(back.find(name));
        return back.messages();
    });
    return 0;
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 2) {
        std::fprintf(stderr, "usage: tail_bench BROKERS [records [topics [partitions]]]\n");
        return 2;
    }
    const auto number = [&](int index, uint64_t otherwise) {
        return count > index ? std::strtoull(arguments[index], nullptr, 10) : otherwise;
    };
    spdlog::set_level(spdlog::level::warn);
    try {
        return run(arguments[1], number(2, 1'000'000), number(3, 1000), static_cast<int>(number(4, 1)));
    } catch (const Error& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
