// The page /status: the state of the process as JSON, for `pgveil status` and for programs. docs/monitoring.md describes its
// keys.
#pragma once

#include <nlohmann/json.hpp>

#include "proxy/admin/http_message.h"
#include "proxy/admin/listener_totals.h"
#include "proxy/admin/observed_process.h"
#include "proxy/admin/session_history.h"

namespace pgveil::proxy {

// The content of the page, without the history.
[[nodiscard]] nlohmann::ordered_json status_of(const ObservedProcess& process, Surveyor& surveyor);
[[nodiscard]] HttpResponse status_page(const ObservedProcess& process, Surveyor& surveyor,
                                       const SessionHistory& history);

}  // namespace pgveil::proxy
