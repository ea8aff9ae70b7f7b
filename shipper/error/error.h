// The one error type of the shipper: what happened, why, and what to do next, under a stable code. Thrown
// outside the per-row path only. Messages never hold cell values or secrets.
#pragma once

#include <exception>
#include <string>
#include <string_view>

namespace walferry {

enum class Retry { never, source, sink };

enum class ErrorCode {
#define WF_ERROR(name, code, exit_status, retry, title) name,
#include "error/codes.def"
#undef WF_ERROR
};

struct ErrorCodeInfo {
    const char* code;   // "WF2003"
    const char* title;  // one line, no full stop
    int exit_status;
    Retry retry;
};

const ErrorCodeInfo& info(ErrorCode code);

class Error : public std::exception {
 public:
    // `what`: what happened, with where ("task.toml:7: ..."). `why`: the cause as far as known; may be empty.
    // `remedy`: what to do next, with the exact statement or setting where there is one.
    Error(ErrorCode code, std::string what, std::string why, std::string remedy);

    ErrorCode code() const { return code_; }
    Retry retry() const { return info(code_).retry; }
    const std::string& happened() const { return happened_; }
    const std::string& why() const { return why_; }
    const std::string& remedy() const { return remedy_; }
    // The whole error on several lines: "WF2003: ...\n  why: ...\n  remedy: ...".
    const char* what() const noexcept override { return text_.c_str(); }

 private:
    ErrorCode code_;
    std::string happened_, why_, remedy_, text_;
};

}  // namespace walferry
