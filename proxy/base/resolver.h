// Host names to addresses and back, without blocking the loop (c-ares): from the hosts file, then from DNS,
// in the order of nsswitch.conf. Keeps no answers. The files are read anew for each look-up.
#pragma once

#include <uv.h>

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

// How long a name server has for its answer, and how often all of them are asked.
struct LookupPatience {
  std::chrono::milliseconds timeout{2'000};
  int attempts = 3;
};
// With the options `timeout` and `attempts` of a resolv.conf, and of the variable RES_OPTIONS, which comes
// before the file (resolv.conf(5)).
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
    std::string error;                     // why neither was found
  };
  class Request;

  explicit Resolver(uv_loop_t* loop) : Resolver(loop, Settings{}) {}
  Resolver(uv_loop_t* loop, Settings settings);
  ~Resolver();  // after all of its requests
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // `waiter` must outlive the request. It is woken when the answer has come, unless the request has it at
  // once. Requests for the same name share one look-up while it is under way; it ends when nobody waits for
  // it.
  [[nodiscard]] std::unique_ptr<Request> addresses_of(const std::string& name, Wakeable& waiter);
  [[nodiscard]] std::unique_ptr<Request> name_of(const KernelAddress& address, Wakeable& waiter);

 private:
  class Lookup;
  using Key = std::pair<bool, std::string>;  // whether it is an address; its text

  [[nodiscard]] std::unique_ptr<Request> request(Key key, const KernelAddress& address, Wakeable& waiter);

  uv_loop_t* loop_;
  const Settings settings_;
  std::map<Key, std::unique_ptr<Lookup>> lookups_;  // under way
};

// One who waits for an answer, or has it. Destroying it ends the wait.
class Resolver::Request {
 public:
  ~Request();
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  // nullopt: the look-up is under way.
  [[nodiscard]] const std::optional<Answer>& answer() const { return answer_; }

 private:
  friend class Resolver;
  explicit Request(Wakeable& waiter) : waiter_(waiter) {}

  Wakeable& waiter_;
  Lookup* lookup_ = nullptr;  // while there is no answer
  int attempts_ = 0;          // that it has seen from beginning to end, and that have timed out
  std::optional<Answer> answer_;
};

}  // namespace pgveil::proxy
