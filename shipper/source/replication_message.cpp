#include "source/replication_message.h"

#include <string>

#include "error/error.h"

namespace walferry {
namespace {

uint64_t read_uint64(const uint8_t* bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < 8; ++i) value = value << 8 | bytes[i];
    return value;
}

void write_uint64(char* bytes, uint64_t value) {
    for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(value >> (56 - 8 * i) & 0xff);
}

[[noreturn]] void malformed(std::string why) {
    throw Error(ErrorCode::source_protocol, "Malformed message in the replication stream", std::move(why),
                "Check what stands between the shipper and the server (proxy, pooler); the server must be "
                "reached directly. The shipper connects anew and reads the same changes again");
}

}  // namespace

ReplicationMessage parse_replication_message(std::span<const uint8_t> message) {
    if (message.empty()) malformed("empty CopyData message");
    const uint8_t* bytes = message.data();
    switch (bytes[0]) {
        case 'w':
            if (message.size() < kXLogDataHeaderSize)
                malformed("XLogData of " + std::to_string(message.size()) + " bytes, at least 25 expected");
            return {ReplicationMessage::Kind::xlog_data,
                    message.subspan(kXLogDataHeaderSize),
                    Lsn{read_uint64(bytes + 1)},
                    Lsn{read_uint64(bytes + 9)},
                    static_cast<int64_t>(read_uint64(bytes + 17)),
                    false};
        case 'k':
            if (message.size() != kKeepaliveSize)
                malformed("keepalive of " + std::to_string(message.size()) + " bytes, 18 expected");
            return {ReplicationMessage::Kind::keepalive,
                    {},
                    Lsn{},
                    Lsn{read_uint64(bytes + 1)},
                    static_cast<int64_t>(read_uint64(bytes + 9)),
                    bytes[17] != 0};
        default:
            malformed("unknown message type " + std::to_string(bytes[0]));
    }
}

std::array<char, kStandbyStatusSize> standby_status(Lsn received, Lsn flushed, int64_t now_postgres_micros,
                                                    bool reply_requested) {
    std::array<char, kStandbyStatusSize> message{};
    message[0] = 'r';
    write_uint64(&message[1], received.value);
    write_uint64(&message[9], flushed.value);
    write_uint64(&message[17], flushed.value);
    write_uint64(&message[25], static_cast<uint64_t>(now_postgres_micros));
    message[33] = reply_requested ? 1 : 0;
    return message;
}

}  // namespace walferry
