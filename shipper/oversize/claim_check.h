// Values kept in files, for messages that hold no more than a reference to them.
//
// A file's name is made from the position of its record: a record that is sent again writes the same file
// again. It is written under another name, made durable and then renamed, so that a reader finds it whole or
// not at all; the message that points to it is produced after that.
//
// Thread contract: one thread. Errors: Error.
#pragma once

#include <string>
#include <string_view>

namespace walferry {

// Of a position header "system:timeline:LSN:ordinal[.part]": "system-timeline/LSN-ordinal[.part]", the LSN in
// 16 digits, so that names sort as the records were committed.
std::string claim_name(std::string_view position);

class ClaimCheck {
 public:
    // Files lie in `directory`/`task`/. Throws Error (config_value) when the directory is not there or cannot
    // be written to: it is not made here, lest values land below the mount point of a disk that is missing.
    ClaimCheck(std::string directory, const std::string& task);

    // Writes the value and returns its path, relative to the directory. Throws Error (claim_check_failed).
    std::string store(std::string_view position, std::string_view value) const;

 private:
    std::string directory_;
    std::string task_;
};

}  // namespace walferry
