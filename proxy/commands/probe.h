// `pgveil probe`: asks the admin address of a running pgveil for its health, for the probes of Kubernetes and for images
// without a shell.
#pragma once

#include <chrono>
#include <string>

#include "proxy/base/socket_address.h"

namespace pgveil::proxy {

struct Probe {
  SocketAddress address;
  std::string page;  // "/livez"
  std::chrono::milliseconds patience{1'000};
};

// Prints the answer. Returns 0 if it is positive, kExitUnavailable if it is negative or there is none.
[[nodiscard]] int run_probe(const Probe& probe);

}  // namespace pgveil::proxy
