#include "spool/live_relations.h"

#include <cstdlib>
#include <memory>
#include <new>

#include "common/wire/frame_writer.h"

namespace walferry {
namespace {

struct HeapBuffer : wire::Buffer {
    HeapBuffer() {
        grow = [](void*, uint8_t* old, size_t, size_t wanted) {
            void* block = std::realloc(old, wanted);
            if (block == nullptr) throw std::bad_alloc();
            return static_cast<uint8_t*>(block);
        };
    }
    ~HeapBuffer() { std::free(data); }
    HeapBuffer(const HeapBuffer&) = delete;
    HeapBuffer& operator=(const HeapBuffer&) = delete;
};

const char* text_or_null(const flatbuffers::String* text) {
    return text == nullptr ? nullptr : text->c_str();
}

}  // namespace

void LiveRelations::clear() {
    relations_.clear();
    retired_.clear();
    in_progress_.clear();
    session_.reset();
}

void LiveRelations::add(const wire::Relation& relation) {
    std::vector<wire::ColumnParts> columns;
    columns.reserve(relation.columns()->size());
    std::vector<std::vector<const char*>> labels;
    labels.reserve(relation.columns()->size());
    for (const wire::Column* column : *relation.columns()) {
        std::vector<const char*>& own = labels.emplace_back();
        if (column->enum_labels() != nullptr) {
            for (const flatbuffers::String* label : *column->enum_labels()) own.push_back(label->c_str());
        }
        columns.push_back({.name = column->name()->c_str(),
                           .type_oid = column->type_oid(),
                           .type_name = column->type_name()->c_str(),
                           .type_modifier = column->type_modifier(),
                           .base_type_oid = column->base_type_oid(),
                           .value_class = column->value_class(),
                           .key_position = column->key_position(),
                           .identity = column->identity(),
                           .not_null = column->not_null(),
                           .generated = column->generated(),
                           .enum_labels = own.data(),
                           .enum_label_count = static_cast<uint32_t>(own.size())});
    }
    const wire::RelationParts parts{.id = relation.id(),
                                    .oid = relation.oid(),
                                    .schema = relation.schema()->c_str(),
                                    .table = relation.table()->c_str(),
                                    .replica_identity = relation.replica_identity(),
                                    .kind = relation.kind(),
                                    .root_oid = relation.root_oid(),
                                    .leaf_schema = text_or_null(relation.leaf_schema()),
                                    .leaf_table = text_or_null(relation.leaf_table()),
                                    .columns = columns.data(),
                                    .column_count = static_cast<uint32_t>(columns.size())};
    HeapBuffer out;
    const size_t table = wire::write_relation(parts, relation.fingerprint(), &out);
    relations_[relation.id()] = {{out.data, out.data + out.size}, static_cast<uint32_t>(table)};
}

void LiveRelations::follow(const wire::FrameHeader& header, const wire::Batch& batch) {
    if (const wire::Session* session = batch.session()) {
        session_ = {session->plugin_version()->str(), session->server_version(), session->database()->str(),
                    session->encoding()->str()};
    }
    const uint32_t xid = batch.transaction()->xid();
    switch (header.kind) {
        case wire::FrameKind::stream:
        case wire::FrameKind::prepare:
            in_progress_.insert(xid);
            break;
        case wire::FrameKind::stream_abort:
            if (batch.aborted_xid() == xid) in_progress_.erase(xid);
            break;
        case wire::FrameKind::stream_commit:
        case wire::FrameKind::commit_prepared:
        case wire::FrameKind::rollback_prepared:
            in_progress_.erase(xid);
            break;
        default:
            break;
    }
    if (batch.retired() != nullptr)
        retired_.insert(retired_.end(), batch.retired()->begin(), batch.retired()->end());
    if (retired_.empty() || !in_progress_.empty()) return;
    for (const uint32_t id : retired_) relations_.erase(id);
    retired_.clear();
}

OwnFrame LiveRelations::frame_of_all(const std::set<uint32_t>& without) const {
    std::vector<const Block*> blocks;
    blocks.reserve(relations_.size());
    for (const auto& [id, block] : relations_) {
        if (!without.contains(id)) blocks.push_back(&block);
    }
    return make_frame(blocks, session_ ? &*session_ : nullptr);
}

OwnFrame LiveRelations::frame_of(const std::set<uint32_t>& ids) const {
    std::vector<const Block*> blocks;
    for (const uint32_t id : ids) {
        const auto place = relations_.find(id);
        if (place != relations_.end()) blocks.push_back(&place->second);
    }
    return make_frame(blocks, nullptr);
}

OwnFrame LiveRelations::make_frame(const std::vector<const Block*>& blocks, const Session* session) {
    std::vector<uint8_t> relations;
    std::vector<uint32_t> tables;
    for (const Block* block : blocks) {
        tables.push_back(static_cast<uint32_t>(relations.size() + block->table));
        relations.insert(relations.end(), block->bytes.begin(), block->bytes.end());
    }
    wire::SessionParts session_parts{};
    wire::FrameParts parts;
    parts.kind = wire::FrameKind::transaction;
    parts.relations = relations.data();
    parts.relation_bytes = relations.size();
    parts.relation_tables = tables.data();
    parts.relation_count = tables.size();
    if (session != nullptr) {
        session_parts = {session->plugin_version.c_str(), session->server_version, session->database.c_str(),
                         session->encoding.c_str()};
        parts.session = &session_parts;
    }
    OwnFrame frame(wire::frame_bound(parts));
    const size_t size = wire::write_frame(parts, frame.data());
    frame.resize(size);
    wire::seal(frame.data(), size);
    return frame;
}

}  // namespace walferry
