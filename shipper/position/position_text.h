// Writes the header `walferry.position` of each message; message_position.h has its form. One thread.
#pragma once

#include <string>
#include <string_view>

#include "common/types.h"
#include "position/message_position.h"

namespace walferry {

class PositionText {
 public:
    // The history that the positions belong to from now on.
    void set_history(SystemId system, Timeline timeline);
    // Of a whole message: chunks get their ending where they are made. Valid until the next call.
    std::string_view of(const MessagePosition& position);

 private:
    std::string text_;  // "<system identifier>:<timeline>:" and room for the rest
    size_t prefix_ = 0;
};

}  // namespace walferry
