// The server to which a CancelRequest is forwarded. The request names no user, database or host: it contains only the
// key that a server gave to a session.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "protocol/startup.h"
#include "proxy/snapshot/snapshot.h"
#include "proxy/upstream/connector.h"

namespace pgveil::proxy {

struct CancelRoute {
  std::shared_ptr<const Upstream> upstream;  // of the session
  ServerAddress server;                      // to which the session is connected
};

// The established sessions of a process by their cancel keys. May be used from any thread. Keys are secrets: their
// memory is wiped when they are removed.
class CancelRoutes {
 public:
  CancelRoutes() = default;
  ~CancelRoutes();
  CancelRoutes(const CancelRoutes&) = delete;
  CancelRoutes& operator=(const CancelRoutes&) = delete;

  void add(const protocol::CancelRequest& key, CancelRoute route);
  void remove(const protocol::CancelRequest& key);
  [[nodiscard]] std::optional<CancelRoute> find(const protocol::CancelRequest& key) const;

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, CancelRoute> routes_;
};

}  // namespace pgveil::proxy
