// The process: the main thread with its listeners and signals, and the workers.
#pragma once

#include <memory>

#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {

// Listens and serves until SIGTERM or SIGINT. Then ends every session, with SQLSTATE 57P01 if the protocol
// allows it. A second signal ends the process at once. Returns an exit code (proxy/base/exit_code.h), or ends
// the process with it if an operation is pending that cannot be cancelled.
[[nodiscard]] int serve(const std::shared_ptr<const Snapshot>& snapshot);

}  // namespace pgveil::proxy
