// What sessions pass between their clients and servers.
#pragma once

#include <chrono>
#include <cstdint>

#include "proxy/diagnostics/metrics.h"
#include "proxy/net/stream.h"

namespace pgveil::proxy {

struct Traffic {
  struct Direction {
    std::uint64_t bytes = 0;             // of PostgreSQL's protocol
    std::uint64_t messages = 0;          // complete ones
    std::chrono::nanoseconds paused{0};  // in which nothing was read, because the receiver was slow to read
  };
  Direction to_client = {};
  Direction to_server = {};  // the client's login included, once the session has ended
  // Of the connections, from their start.
  WireBytes client_leg = {};
  WireBytes server_leg = {};

  Traffic& operator+=(const Traffic& other);
};

// The sum of sessions. Only one thread may add.
class TrafficCounters {
 public:
  void add(const Traffic& traffic);
  [[nodiscard]] Traffic value() const;

 private:
  struct Direction {
    Counter bytes;
    Counter messages;
    Counter paused;  // in nanoseconds
  };
  struct Leg {
    Counter received;
    Counter sent;
  };
  Direction to_client_;
  Direction to_server_;
  Leg client_leg_;
  Leg server_leg_;
};

}  // namespace pgveil::proxy
