// SIGTERM and SIGINT ask for an orderly end; a second one ends the process at once.
#pragma once

#include <atomic>

namespace walferry {

// Installs the handlers. The flag becomes true at the first signal; it lives as long as the process.
const std::atomic<bool>& stop_on_signals();

}  // namespace walferry
