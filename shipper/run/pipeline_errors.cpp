#include "run/pipeline_errors.h"

#include <utility>

namespace walferry {

Error oversize_error(std::string what, std::string remedy) {
    return {ErrorCode::record_oversize, std::move(what),
            "It has more than about 1 GB, or a value too large for the server to print. A message without it "
            "would look whole.",
            std::move(remedy)};
}

Error order_error() {
    return {ErrorCode::frame_malformed, "A transaction's frames are not in order", "",
            "Please report it, with the versions of plugin and shipper."};
}

Error interrupted_error() {
    return {ErrorCode::source_slot_moved,
            "The server does not continue with the transaction that was interrupted", "",
            "Find out who else reads from the slot; the tables concerned have to be loaded again."};
}

Error stopped_error(std::string what, std::string why) {
    return {ErrorCode::source_stopped, std::move(what), std::move(why),
            "What was not acknowledged comes again at the next start."};
}

}  // namespace walferry
