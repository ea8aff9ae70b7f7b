#include "error/error.h"

#include <utility>

namespace walferry {
namespace {

constexpr ErrorCodeInfo kInfo[] = {
#define WF_ERROR(name, code, exit_status, retry, title) {code, title, exit_status, Retry::retry},
#include "error/codes.def"
#undef WF_ERROR
};

}  // namespace

const ErrorCodeInfo& info(ErrorCode code) {
    return kInfo[static_cast<size_t>(code)];
}

Error::Error(ErrorCode code, std::string what, std::string why, std::string remedy)
    : code_(code), happened_(std::move(what)), why_(std::move(why)), remedy_(std::move(remedy)) {
    text_ = std::string(info(code_).code) + ": " + happened_;
    if (!why_.empty()) text_ += "\n  why: " + why_;
    if (!remedy_.empty()) text_ += "\n  remedy: " + remedy_;
}

}  // namespace walferry
