// The relations of one session by the id that the plugin gave them, each with a slot for what the pipeline
// prepared for it. One registry per session and thread; a new session starts with clear().
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>
#include <utility>

#include "common/wire/frame_reader.h"
#include "record/relation_schema.h"

namespace walferry {

// More relations alive in one session than any server has tables of use: ids are then not to be trusted.
constexpr size_t kMaxRelations = size_t(1) << 20;

// `Prepared` is default-constructed with the relation and dropped with it.
template <typename Prepared>
class RelationRegistry {
 public:
    struct Entry {
        RelationSchema schema;
        Prepared prepared{};
    };

    // Takes in the batch's new relations, before its records are read; `on_new(Entry&)` is called for each.
    // Fails at an impossible relation, and at an id that is in use: an id stands for one schema only.
    template <typename OnNew>
    wire::FrameStatus add(const wire::Batch& batch, OnNew&& on_new) {
        if (batch.session()) server_version_ = batch.session()->server_version();
        if (!batch.relations()) return {};
        for (const wire::Relation* relation : *batch.relations()) {
            wire::FrameStatus fault;
            std::optional<RelationSchema> schema = RelationSchema::make(*relation, &fault);
            if (!schema) return fault;
            schema->server_version = server_version_;
            if (entries_.size() >= kMaxRelations) return {wire::FrameError::bad_relation, 0};
            auto [place, fresh] = entries_.try_emplace(schema->id);
            if (!fresh) return {wire::FrameError::bad_relation, 0};
            place->second = std::make_unique<Entry>();
            place->second->schema = std::move(*schema);
            on_new(*place->second);
        }
        return {};
    }
    wire::FrameStatus add(const wire::Batch& batch) {
        return add(batch, [](Entry&) {});
    }

    // The batch's relations that no later frame of the session uses. Frames of transactions that began before
    // `next` and have not ended may wait to be read: transactions are numbered in the order in which they
    // begin.
    void retire(const wire::Batch& batch, uint64_t next) {
        if (!batch.retired()) return;
        for (uint32_t id : *batch.retired()) retired_.push_back({next, id});
    }
    // Drops the retired relations that no transaction from `oldest` on can use.
    void release(uint64_t oldest) {
        while (!retired_.empty() && retired_.front().next <= oldest) {
            const uint32_t id = retired_.front().id;
            if (last_ && last_->schema.id == id) last_ = nullptr;
            entries_.erase(id);
            retired_.pop_front();
        }
    }
    bool has_retired() const { return !retired_.empty(); }

    // The relation of that id, or null. Stays where it is until it is retired.
    Entry* find(uint32_t id) {
        if (last_ && last_->schema.id == id) return last_;
        auto place = entries_.find(id);
        if (place == entries_.end()) return nullptr;
        return last_ = place->second.get();
    }

    size_t size() const { return entries_.size(); }

    void clear() {
        last_ = nullptr;
        entries_.clear();
        retired_.clear();
    }

 private:
    struct Retired {
        uint64_t next;
        uint32_t id;
    };

    std::unordered_map<uint32_t, std::unique_ptr<Entry>> entries_;
    std::deque<Retired> retired_;
    uint32_t server_version_ = 0;  // as the session's first frame says
    Entry* last_ = nullptr;        // rows come in runs of one relation
};

}  // namespace walferry
