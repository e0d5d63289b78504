// The checks that pgveil makes before it listens. The commands `run` and `check` use the same functions, so
// that `check` reports the errors with which `run` would fail.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <tl/expected.hpp>

#include "proxy/base/cpu_quota.h"
#include "proxy/config/config.h"
#include "proxy/config/config_report.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {

// The reasons why pgveil cannot run with a configuration.
struct Unprepared {
  ConfigReport report;
  int exit_code = 0;  // see proxy/base/exit_code.h
};

// Builds the snapshot with build_snapshot(), and checks that the objects that the settings name exist on this
// machine: addresses, directories of sockets, groups, programs, the audit file or socket, io_uring. Returns all
// errors together. Creates no file. Does not report that another process uses an address: that process may
// be the pgveil that will be replaced.
// On a reload, io_uring and the socket of the audit are not checked: they do not change then.
enum class Occasion { start, reload };
[[nodiscard]] tl::expected<std::shared_ptr<const Snapshot>, Unprepared> prepare(
    const ParsedConfig& parsed, Occasion occasion = Occasion::start);

// Returns the number of workers: limits.workers, or one for each CPU that the system grants.
[[nodiscard]] unsigned worker_count(const LimitsConfig& limits, const GrantedCpus& granted);

// The limit of open files is too low for limits.max_sessions, even with the soft limit raised.
struct DescriptorShortage {
  std::uint64_t limit = 0;
  std::uint64_t wanted = 0;
};
inline constexpr const char* kDescriptorHint =
    "Raise the limit of open files, or lower limits.max_sessions, which cannot be reached.";
[[nodiscard]] std::optional<DescriptorShortage> descriptor_shortage(const Snapshot& snapshot,
                                                                    unsigned workers);

// io_uring cannot be used, and limits.relay requires it.
inline constexpr const char* kRelayHint =
    "Use Linux 6.1 or newer and permit io_uring, or set relay to \"auto\" or \"epoll\".";

}  // namespace pgveil::proxy
