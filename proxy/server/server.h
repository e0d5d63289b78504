// The process: the main thread with its listeners and signals, and the workers.
#pragma once

#include <memory>

#include "proxy/server/reloader.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {

// Listens and serves until SIGTERM or SIGINT. After SIGTERM, sessions may finish their transactions (limits.drain_delay and
// drain_timeout); then, and at once after SIGINT, all sessions end, with SQLSTATE 57P01 if the protocol allows it. A second
// signal ends the process at once. SIGHUP loads the configuration from `source` again; sessions
// that have begun keep the snapshot under which they began. Returns an exit code (proxy/base/exit_code.h), or ends
// the process with it if an operation is pending that cannot be cancelled.
[[nodiscard]] int serve(const std::shared_ptr<const Snapshot>& snapshot, ConfigSource source);

}  // namespace pgveil::proxy
