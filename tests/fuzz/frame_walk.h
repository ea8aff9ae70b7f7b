// Opens a frame and touches every byte that the reader hands out, so that a sanitizer sees any view that
// leaves it.
#pragma once

#include <cstdint>
#include <vector>

#include "common/wire/frame_reader.h"

namespace walferry::wire::test {

struct Walk {
    FrameError error = FrameError::none;  // of the frame
    size_t rows = 0;                      // records that were read
    size_t faults = 0;                    // relations and records that were refused
    uint64_t digest = 0;

    void touch(const void* bytes, size_t size) {
        for (size_t i = 0; i < size; i++) {
            digest = digest * 31 + static_cast<const uint8_t*>(bytes)[i];
        }
    }
    void touch(const flatbuffers::String* text) {
        if (text) touch(text->c_str(), text->size() + 1);
    }
    void touch(const std::vector<ValueView>& views) {
        for (const ValueView& view : views) touch(view.data, view.size);
    }
    bool check(FrameStatus status) {
        touch(describe(status.error), 1);
        if (status.ok()) return true;
        faults++;
        return false;
    }
};

// `frame` lies 7 bytes before a multiple of 8.
inline Walk walk_frame(const uint8_t* frame, size_t size) {
    Walk walk;
    FrameReader reader;
    FrameStatus opened = reader.open(frame, size);
    walk.error = opened.error;
    if (!opened.ok()) return walk;
    const Batch& batch = reader.batch();
    walk.touch(batch.transaction(), sizeof(Transaction));
    if (const Session* session = batch.session()) {
        walk.touch(session->plugin_version());
        walk.touch(session->database());
        walk.touch(session->encoding());
        walk.digest += session->server_version();
    }
    walk.touch(batch.gid());
    walk.touch(batch.origin_name());
    if (const auto* ids = batch.retired()) walk.touch(ids->data(), 4 * size_t(ids->size()));
    if (const auto* runs = batch.runs()) walk.touch(runs->data(), sizeof(Run) * size_t(runs->size()));
    if (in_progress(reader.header().kind)) walk.check(check_runs(reader));

    // Rows of a relation that the frame does not bring are read with one column of each class.
    std::vector<ColumnLayout> unknown;
    for (int c = 0; c <= int(ValueClass::MAX); c++) unknown.push_back({ValueClass(c), c % 3 == 0});
    struct Known {
        uint32_t id;
        std::vector<ColumnLayout> columns;
    };
    std::vector<Known> relations;
    if (batch.relations()) {
        for (const Relation* relation : *batch.relations()) {
            walk.touch(relation->schema());
            walk.touch(relation->table());
            walk.touch(relation->leaf_schema());
            walk.touch(relation->leaf_table());
            walk.digest += relation->fingerprint() + relation->oid() + relation->root_oid() +
                           relation->kind() + relation->replica_identity();
            if (!walk.check(check_relation(*relation))) continue;
            Known& known = relations.emplace_back(Known{relation->id(), {}});
            for (const Column* column : *relation->columns()) {
                walk.touch(column->name());
                walk.touch(column->type_name());
                walk.digest += column->type_oid() + column->base_type_oid() + column->key_position() +
                               uint32_t(column->type_modifier()) + column->not_null() + column->generated();
                if (column->enum_labels()) {
                    for (const flatbuffers::String* label : *column->enum_labels()) walk.touch(label);
                }
                known.columns.push_back({column->value_class(), column->identity()});
            }
        }
    }

    std::vector<ValueView> before, after;
    for (size_t i = 0; i < reader.record_count(); i++) {
        const RecordView record = reader.record(i);
        walk.digest += record.length();
        MessageView message;
        if (record.operation() == Operation::Message) {
            if (!walk.check(read_message(reader, record, &message))) continue;
            walk.touch(message.prefix, message.prefix_size);
            walk.touch(message.content, message.content_size);
            walk.rows++;
            continue;
        }
        if (record.operation() == Operation::Truncate) {
            if (walk.check(check_truncate(reader, record))) walk.rows++;
            continue;
        }
        const std::vector<ColumnLayout>* columns = &unknown;
        for (const Known& known : relations) {
            if (known.id == record.relation()) columns = &known.columns;
        }
        before.assign(columns->size(), {});
        after.assign(columns->size(), {});
        if (!walk.check(
                read_row(reader, record, columns->data(), columns->size(), before.data(), after.data()))) {
            continue;
        }
        walk.touch(before);
        walk.touch(after);
        walk.rows++;
    }
    return walk;
}

}  // namespace walferry::wire::test
