// Everything that can be known before pgveil listens. `run` and `check` use the same functions, so that
// `check` reports what `run` would fail with.
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

// Why pgveil cannot run with a configuration.
struct Unprepared {
  ConfigReport report;
  int exit_code = 0;  // see proxy/base/exit_code.h
};

// Loads everything as build_snapshot() does, and checks that this machine has what the settings name:
// addresses, directories of sockets, groups, programs, the audit file, io_uring. Returns all errors at once.
// Creates no file, and does not notice that another process uses an address: it may be the pgveil that is to
// be replaced.
[[nodiscard]] tl::expected<std::shared_ptr<const Snapshot>, Unprepared> prepare(const ParsedConfig& parsed);

// The number of workers: as configured, or one for each CPU that is granted.
[[nodiscard]] unsigned worker_count(const LimitsConfig& limits, const GrantedCpus& granted);

// Too few open files for limits.max_sessions, even with the soft limit raised.
struct DescriptorShortage {
  std::uint64_t limit = 0;
  std::uint64_t wanted = 0;
};
inline constexpr const char* kDescriptorHint =
    "Raise the limit of open files, or lower limits.max_sessions, which cannot be reached.";
[[nodiscard]] std::optional<DescriptorShortage> descriptor_shortage(const Snapshot& snapshot,
                                                                    unsigned workers);

}  // namespace pgveil::proxy
