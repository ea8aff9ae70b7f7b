#include "record/frame_walker.h"

#include <string>

namespace walferry {

Error frame_error(const wire::FrameStatus& status) {
    using wire::FrameError;
    const std::string where = "byte " + std::to_string(status.offset);
    switch (status.error) {
        case FrameError::too_short:
        case FrameError::bad_magic:
        case FrameError::bad_checksum:
            return {ErrorCode::frame_damaged, "A frame from the server is damaged at " + where,
                    wire::describe(status.error),
                    "The stream is read again from the last confirmed position. If it happens again, look at "
                    "what "
                    "lies between the server and the shipper, and use TLS (sslmode=require)."};
        case FrameError::bad_version:
        case FrameError::bad_kind:
            return {ErrorCode::frame_version,
                    "A frame from the server is of a kind that this release cannot read",
                    wire::describe(status.error),
                    "Install the same release of walferry on the database host and beside Kafka."};
        default:
            return {ErrorCode::frame_malformed, "A frame from the server is malformed at " + where,
                    wire::describe(status.error),
                    "Its checksum is right, so it was written that way: please report it, with the versions "
                    "of plugin "
                    "and shipper."};
    }
}

Error unknown_relation_error(uint32_t id) {
    return {ErrorCode::frame_malformed,
            "A record names relation " + std::to_string(id) + ", which was not announced", "",
            "Its checksum is right, so it was written that way: please report it, with the versions of "
            "plugin and "
            "shipper."};
}

}  // namespace walferry
