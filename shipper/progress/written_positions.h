// The messages that a topic was found to hold already: after a crash, those that the progress record does not
// cover yet. Filled once, then asked in any order.
//
// Memory: 24 bytes a message; the tail is bounded by what is produced between two progress records.
// Thread contract: one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "position/message_position.h"

namespace walferry {

class WrittenPositions {
 public:
    void add(const MessagePosition& position) { positions_.push_back(position); }
    void add(const WrittenPositions& others) {
        positions_.insert(positions_.end(), others.positions_.begin(), others.positions_.end());
    }
    // Call it after the last add().
    void seal() {
        // As they come from a single partition.
        if (!std::is_sorted(positions_.begin(), positions_.end()))
            std::sort(positions_.begin(), positions_.end());
        positions_.erase(std::unique(positions_.begin(), positions_.end()), positions_.end());
    }
    bool contains(const MessagePosition& position) const {
        return std::binary_search(positions_.begin(), positions_.end(), position);
    }
    size_t size() const { return positions_.size(); }

 private:
    std::vector<MessagePosition> positions_;
};

}  // namespace walferry
