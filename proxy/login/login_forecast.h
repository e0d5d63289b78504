// A forecast of the logins that work through a listener, of those that cannot work, and why: for `pgveil
// check`. The effects of a client's channel_binding and require_auth are in docs/authentication.md.
#pragma once

#include <string>
#include <vector>

#include "protocol/hba.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {

// The forecast for one method in the listener's rules, for clients with or without TLS.
struct LoginForecast {
  protocol::HbaMethod method = protocol::HbaMethod::reject;
  bool client_has_tls = false;
  std::string works;  // a sentence
  std::string fails;  // a sentence with the reason; empty: no failure is expected
};

[[nodiscard]] std::vector<LoginForecast> forecast_logins(const ListenerPolicy& listener,
                                                         const Upstream& upstream);

}  // namespace pgveil::proxy
