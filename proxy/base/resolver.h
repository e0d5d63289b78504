// Looks up the addresses of host names, and the names of addresses, without blocking the loop (c-ares). It
// uses the hosts file and DNS in the order of nsswitch.conf. It has no cache, and reads the files again for
// each look-up.
#pragma once

#include <uv.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/base/handle.h"
#include "proxy/base/socket_address.h"

namespace pgveil::proxy {

// How long a name server may take to answer, and how often all name servers are asked.
struct LookupPatience {
  std::chrono::milliseconds timeout{2'000};
  int attempts = 3;
};
// Reads the options `timeout` and `attempts` from the text of a resolv.conf and from the variable
// RES_OPTIONS, which has precedence (resolv.conf(5)).
[[nodiscard]] LookupPatience lookup_patience(std::string_view resolv_conf, std::string_view res_options);

class Resolver {
 public:
  struct Settings {
    std::string resolv_conf = "/etc/resolv.conf";
    std::uint16_t port = 53;  // of the name servers
  };
  struct Answer {
    std::vector<KernelAddress> addresses;  // of a name: with port 0, sorted by RFC 6724
    std::string name;                      // of an address
    std::string error;                     // the reason if nothing was found
  };
  class Request;
  // Look-ups that have ended. Any thread may read them.
  struct Counts {
    std::atomic<std::uint64_t> succeeded{0};
    std::atomic<std::uint64_t> failed{0};
    std::atomic<std::uint64_t> nanoseconds{0};  // of all of them together
  };

  explicit Resolver(uv_loop_t* loop) : Resolver(loop, Settings{}) {}
  Resolver(uv_loop_t* loop, Settings settings);
  ~Resolver();  // all of its requests must be destroyed before
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // `waiter` must outlive the request. It is woken when the answer has arrived, unless the returned request
  // has its answer already. Concurrent requests for the same name share one look-up. It ends when its last
  // request is destroyed.
  [[nodiscard]] std::unique_ptr<Request> addresses_of(const std::string& name, Wakeable& waiter);
  [[nodiscard]] std::unique_ptr<Request> name_of(const KernelAddress& address, Wakeable& waiter);
  [[nodiscard]] const Counts& counts() const { return counts_; }

 private:
  class Lookup;
  using Key = std::pair<bool, std::string>;  // true for an address, false for a name; its text

  [[nodiscard]] std::unique_ptr<Request> request(Key key, const KernelAddress& address, Wakeable& waiter);

  uv_loop_t* loop_;
  const Settings settings_;
  Counts counts_;
  std::map<Key, std::unique_ptr<Lookup>> lookups_;  // that are running
};

// A request that waits for its answer, or has it. The destructor cancels the request.
class Resolver::Request {
 public:
  ~Request();
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  // nullopt: the look-up is still running.
  [[nodiscard]] const std::optional<Answer>& answer() const { return answer_; }

 private:
  friend class Resolver;
  explicit Request(Wakeable& waiter) : waiter_(waiter) {}

  Wakeable& waiter_;
  Lookup* lookup_ = nullptr;  // while there is no answer
  int attempts_ = 0;          // timed-out attempts that began after the request was made
  std::optional<Answer> answer_;
};

}  // namespace pgveil::proxy
