// Reaches one server of an upstream: resolves its names, tries all addresses of all hosts in order, as libpq
// does.
#pragma once

#include <uv.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "proxy/address.h"
#include "proxy/config.h"
#include "proxy/ending.h"
#include "proxy/handle.h"
#include "proxy/socket_stream.h"

namespace pgveil::proxy {

// Where a server is: what was connected to, and for which entry of the host list.
struct ServerAddress {
  UpstreamHost host;
  KernelAddress address;
};

class Connector {
 public:
  enum class State { connecting, connected, failed };

  // `upstream` must outlive the connector. `only`: this address and no other, as for a CancelRequest.
  Connector(uv_loop_t* loop, const UpstreamConfig& upstream, Wakeable& owner,
            std::optional<ServerAddress> only = std::nullopt);
  ~Connector();
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

  // Goes on with what has happened. While `connecting`, the owner will be woken.
  [[nodiscard]] State advance();
  // After `connected`: the socket, once, with its watch; and where it leads.
  [[nodiscard]] WatchedSocket take_socket();
  [[nodiscard]] const ServerAddress& server() const { return candidates_.front(); }
  // Forgets the address under way, connected or not, as when time ran out. False where there is no other to
  // try.
  [[nodiscard]] bool skip_address(const std::string& why);
  // Grows with every address that is tried, so that each can be given its own time.
  [[nodiscard]] unsigned attempts() const { return attempts_; }

  // After `failed`: what every attempt ended with.
  [[nodiscard]] Ending failure() const;

 private:
  struct Resolution;

  [[nodiscard]] bool resolve_next_host();
  void start_resolution(const UpstreamHost& host);
  void forget_resolution();
  void add_resolved(const UpstreamHost& host, int status, const addrinfo* addresses);
  [[nodiscard]] State start_connecting();
  [[nodiscard]] State finish_connecting();
  void note_attempt(const std::string& what);
  void close_descriptor();
  static void on_writable(uv_poll_t* poll, int status, int events);

  uv_loop_t* loop_;
  const UpstreamConfig& upstream_;
  Wakeable& owner_;
  std::size_t next_host_ = 0;
  std::deque<ServerAddress> candidates_;  // addresses not tried yet; the front one is being tried
  Resolution* resolution_ = nullptr;      // under way; libuv's until its callback
  Handle<uv_poll_t> poll_;                // of descriptor_
  int descriptor_ = -1;
  bool writable_ = false;
  bool any_resolved_ = false;
  bool out_of_descriptors_ = false;
  unsigned attempts_ = 0;
  std::string report_;  // a sentence for each attempt that failed
};

}  // namespace pgveil::proxy
