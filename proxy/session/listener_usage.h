// What the clients of one listener use at the moment. It stays the same when the configuration is reloaded. All functions
// may be called from any thread, unless their comment says otherwise.
#pragma once

#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proxy/base/client_network.h"
#include "proxy/session/keyed_counts.h"
#include "proxy/session/login_throttle.h"
#include "proxy/session/session_limit.h"
#include "proxy/session/session_metrics.h"
#include "proxy/session/unauthenticated_clients.h"

namespace pgveil::proxy {

struct ListenerUsage {
  // `when_room`: see UnauthenticatedClients, which have no maximum at first.
  explicit ListenerUsage(std::function<void()> when_room, std::size_t workers = 1)
      : unauthenticated_clients(std::numeric_limits<std::size_t>::max(), std::move(when_room)) {
    while (metrics.size() < workers) metrics.push_back(std::make_unique<SessionMetrics>());
  }

  UnauthenticatedClients
      unauthenticated_clients;           // max_unauthenticated_clients of the listener, for the main thread
  SessionLimit sessions;                 // max_sessions of the listener
  KeyedCounts<std::string> users;        // max_sessions_per_user; counted only if it is set
  KeyedCounts<ClientNetwork> addresses;  // max_sessions_per_address; counted only if it is set
  LoginThrottle logins;
  std::vector<std::unique_ptr<SessionMetrics>> metrics;  // of each worker
  // How often connections began to wait in the kernel's queue. The main thread counts.
  struct AcceptPauses {
    Counter unauthenticated_clients;  // a max_unauthenticated_clients was reached
    Counter resources;                // there were no descriptors, or no memory
  } accept_pauses;
};

}  // namespace pgveil::proxy
