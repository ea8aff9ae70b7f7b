// What stops the pipeline, in words.
#pragma once

#include <string>

#include "error/error.h"

namespace walferry {

Error oversize_error(std::string what, std::string remedy);
Error order_error();
Error interrupted_error();
Error stopped_error(std::string what, std::string why);

}  // namespace walferry
