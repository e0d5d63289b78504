// The files of a listener: how long its certificates, authorities and CRLs are still valid; mode and owner of its keys.
#pragma once

#include <cstdint>

#include "proxy/config/config.h"
#include "proxy/doctor/report.h"

namespace pgveil::proxy {

// Reads the files again. Has no steps for a listener without TLS. `now` is in seconds since 1970.
[[nodiscard]] ListenerReport review_listener(const ListenerConfig& listener, std::int64_t now);

}  // namespace pgveil::proxy
