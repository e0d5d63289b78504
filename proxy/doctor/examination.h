// The examination of one server, from its name to the verdict.
#pragma once

#include <cstdint>
#include <memory>

#include "proxy/doctor/report.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {

// Examines the only host of `upstream`. The report has no `server` yet. `now` is in seconds since 1970.
[[nodiscard]] ServerReport examine(const std::shared_ptr<const Upstream>& upstream, std::int64_t now);

}  // namespace pgveil::proxy
