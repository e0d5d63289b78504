// Which logins through a listener will work, and which cannot, and why: for `pgveil check`. What a client's
// channel_binding and require_auth have to do with it stands in docs/authentication.md.
#pragma once

#include <string>
#include <vector>

#include "protocol/hba.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {

// One way in: a method of the listener's rules, for clients with or without TLS.
struct LoginForecast {
  protocol::HbaMethod method = protocol::HbaMethod::reject;
  bool client_has_tls = false;
  std::string works;  // a sentence
  std::string fails;  // likewise, with the reason; empty: nothing that is in sight
};

[[nodiscard]] std::vector<LoginForecast> forecast_logins(const ListenerPolicy& listener,
                                                         const Upstream& upstream);

}  // namespace pgveil::proxy
