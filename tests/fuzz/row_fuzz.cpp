// Arbitrary bytes as a frame, all the way to messages: whatever the bytes are, what comes out is JSON and
// lines without control characters, or a typed error. The checksum is made right, or nothing would get past
// it.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "common/wire/frame_writer.h"
#include "format/canal_json.h"
#include "format/pretty.h"
#include "record/relation_registry.h"

namespace {

using namespace walferry;

// Rendering is cheap; a parser over output that is amplified from few bytes is not.
constexpr size_t kMostParsed = 1 << 20;

void require(bool holds) {
    if (!holds) std::abort();
}

CanalConfig config_of(uint8_t choice) {
    CanalConfig config;
    config.boolean = static_cast<CanalBoolean>(choice % 3);
    config.bytea = static_cast<CanalBytea>(choice / 3 % 3);
    config.truncate = static_cast<CanalTruncate>(choice / 9 % 2);
    config.timestamp = static_cast<CanalTimestamp>(choice / 18 % 2);
    config.timestamptz = static_cast<CanalTimestampTz>(choice / 36 % 2);
    config.type_parameters = choice / 72 % 2 != 0;
    return config;
}

void check_json(const Output& out) {
    if (out.size() <= kMostParsed) require(nlohmann::json::accept(out.view()));
}

void check_line(const Output& out) {
    const std::string_view line = out.view();
    require(!line.empty() && line.back() == '\n');
    for (char c : line.substr(0, line.size() - 1))
        require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
}

void check_row(const CanalJson& canal, const PreparedRelation& prepared, const Row& row, Output& out) {
    out.clear();
    if (canal.render(prepared, row, 1767323045180, out).outcome == Rendered::message) {
        check_json(out);
    } else {
        require(out.empty());
    }
    out.clear();
    if (canal.render_key(prepared, row, out).outcome == Rendered::message) {
        check_json(out);
    } else {
        require(out.empty());
    }
    out.clear();
    if (Pretty(PrettyOptions{}).render(row, out).outcome == Rendered::message) {
        check_line(out);
    } else {
        require(out.empty());
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < wire::kHeaderSize + 8 || size > (1 << 16)) return 0;
    // A copy that begins one byte into an aligned block, so that the flatbuffer is aligned.
    std::unique_ptr<void, decltype(&std::free)> block(std::malloc(size + 1), &std::free);
    uint8_t* bytes = static_cast<uint8_t*>(block.get()) + 1;
    std::memcpy(bytes, data, size);
    wire::seal(bytes, size);

    wire::FrameReader frame;
    if (!frame.open(bytes, size).ok()) return 0;
    const CanalJson canal(config_of(bytes[size - 1]), "db");
    RelationRegistry<PreparedRelation> registry;
    const wire::FrameStatus added =
        registry.add(frame.batch(), [&](auto& entry) { entry.prepared = canal.prepare(entry.schema); });
    if (!added.ok()) return 0;

    std::vector<wire::ValueView> before(wire::kMaxColumns), after(wire::kMaxColumns);
    Output out;
    for (size_t i = 0; i < frame.record_count(); i++) {
        const wire::RecordView record = frame.record(i);
        auto* entry = registry.find(record.relation());
        if (!entry) continue;
        const wire::FrameStatus status =
            record.operation() == wire::Operation::Truncate
                ? wire::check_truncate(frame, record)
                : wire::read_row(frame, record, entry->schema.layout.data(), entry->schema.layout.size(),
                                 before.data(), after.data());
        if (!status.ok()) continue;
        const wire::Transaction& transaction = frame.transaction();
        check_row(canal, entry->prepared,
                  Row{.relation = entry->schema,
                      .operation = record.operation(),
                      .before = before.data(),
                      .after = after.data(),
                      .images = record.images(),
                      .commit_lsn = Lsn(transaction.commit_lsn()),
                      .end_lsn = Lsn(transaction.end_lsn()),
                      .xid = Xid(transaction.xid()),
                      .ordinal = Ordinal(transaction.first_ordinal() + record.ordinal()),
                      .commit_unix_ms = transaction.commit_time() / 1000 + 946684800000},
                  out);
    }
    registry.retire(frame.batch(), 0);
    registry.release(0);
    return 0;
}
