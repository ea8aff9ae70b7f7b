// Nanoseconds of CPU time per row of the renderers, on the ten-column row of the drain benches. Not part of
// `make check`:
//   cmake --build BUILD --target render_bench && BUILD/render_bench [seconds per case]
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

#include "format/canal_json.h"
#include "format/pretty.h"
#include "tests/unit/format_row_builder.h"

namespace {

using namespace walferry;
using namespace walferry::test;
using wire::Operation;
using wire::ValueClass;

RelationSchema ten_columns() {
    return make_relation("public", "bench_rows",
                         {{"id", 20, "bigint", ValueClass::Int8, 1},
                          {"customer_id", 23, "integer", ValueClass::Int4},
                          {"status", 21, "smallint", ValueClass::Int2},
                          {"name", 1043, "character varying", ValueClass::String},
                          {"email", 25, "text", ValueClass::String},
                          {"amount", 1700, "numeric", ValueClass::Numeric},
                          {"rate", 701, "double precision", ValueClass::Float8},
                          {"active", 16, "boolean", ValueClass::Bool},
                          {"created_at", 1114, "timestamp without time zone", ValueClass::Timestamp},
                          {"updated_at", 1184, "timestamp with time zone", ValueClass::TimestampTz}},
                         'f');
}

Image values(int64_t id, double rate) {
    return {number(id),
            number(int32_t(48211)),
            number(int16_t(3)),
            text("customer name 4711"),
            text("customer4711@example.org"),
            hex("0081e60028239a02"),
            number(rate),
            number(uint8_t(1)),
            number(int64_t(820'545'845'123'456)),
            number(int64_t(820'545'846'000'000))};
}

// CPU time, so that neighbours on the machine do not count.
double cpu_seconds() {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return double(now.tv_sec) + double(now.tv_nsec) * 1e-9;
}

template <typename Call>
void measure(const char* name, double seconds, Call&& call) {
    Output out;
    constexpr int kRows = 500;  // one frame's worth; the output is reused as the producer's buffer is
    uint64_t rows = 0, bytes = 0;
    const double start = cpu_seconds();
    double elapsed = 0;
    while (elapsed < seconds) {
        out.clear();
        for (int i = 0; i < kRows; i++) call(out);
        rows += kRows;
        bytes = out.size() / kRows;
        elapsed = cpu_seconds() - start;
    }
    std::printf("%-28s %8.1f ns/row %6llu bytes\n", name, elapsed * 1e9 / double(rows),
                static_cast<unsigned long long>(bytes));
}

}  // namespace

int main(int argc, char** argv) {
    const double seconds = argc > 1 ? std::atof(argv[1]) : 1.0;
    const CanalJson canal(CanalConfig{}, "bench");
    const RelationSchema relation = ten_columns();
    const PreparedRelation prepared = canal.prepare(relation);
    const TestRow insert(relation, Operation::Insert, {}, values(123456789, 0.725));
    const TestRow update(relation, Operation::Update, values(123456789, 0.725), values(123456789, 0.5));
    const TestRow remove(relation, Operation::Delete, values(123456789, 0.725), {});
    constexpr int64_t kNow = 1767323045180;

    auto render = [&](const TestRow& row) {
        return [&](Output& out) { static_cast<void>(canal.render(prepared, row.row(), kNow, out)); };
    };
    measure("canal-json insert", seconds, render(insert));
    measure("canal-json update, full", seconds, render(update));
    measure("canal-json delete, full", seconds, render(remove));
    measure("canal-json key", seconds,
            [&](Output& out) { static_cast<void>(canal.render_key(prepared, insert.row(), out)); });

    const RelationSchema wide =
        make_relation("public", "documents",
                      {{"id", 20, "bigint", ValueClass::Int8, 1}, {"body", 25, "text", ValueClass::String}});
    const PreparedRelation wide_prepared = canal.prepare(wide);
    std::string ascii, chinese;
    while (ascii.size() < 10000) ascii += "the quick brown fox jumps over the lazy dog; ";
    while (chinese.size() < 10000) chinese += "数据库变更，";
    for (const auto& [name, body] :
         {std::pair{"10 kB of ASCII", &ascii}, std::pair{"10 kB of Chinese", &chinese}}) {
        const TestRow row(wide, Operation::Insert, {}, {number(int64_t(1)), text(*body)});
        measure(name, seconds,
                [&](Output& out) { static_cast<void>(canal.render(wide_prepared, row.row(), kNow, out)); });
    }

    const Pretty pretty(PrettyOptions{});
    measure("pretty insert", seconds,
            [&](Output& out) { static_cast<void>(pretty.render(insert.row(), out)); });
    return 0;
}
