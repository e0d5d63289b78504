// What the status of an upstream means to an operator.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/snapshot/snapshot.h"
#include "proxy/snapshot/upstream_status.h"

namespace pgveil::proxy {

enum class UpstreamVerdict : std::uint8_t {
  unknown,      // nothing has connected to it yet
  verified,     // the last connection has passed verify-full
  unencrypted,  // the last connection was made without TLS, as configured
  failed,       // the last attempt has failed
};
[[nodiscard]] std::string_view name_of(UpstreamVerdict verdict);
[[nodiscard]] UpstreamVerdict verdict_of(const UpstreamStatus::Values& values);

// Returns why an upstream of a listener cannot be used, one text for each: its last connection failed, or none has succeeded
// within two times upstream_check_interval and startup_timeout, which a check may take.
// `now`: time_now().
[[nodiscard]] std::vector<std::string> why_upstreams_not_ready(const Snapshot& snapshot,
                                                               UpstreamStatus::Time now);

}  // namespace pgveil::proxy
