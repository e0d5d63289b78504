// Reaches one server of an upstream: resolves its names, tries all addresses of all hosts in order, as libpq
// does.
#pragma once

#include <uv.h>

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "proxy/base/deadline.h"
#include "proxy/base/handle.h"
#include "proxy/base/resolver.h"
#include "proxy/base/socket_address.h"
#include "proxy/config/config.h"
#include "proxy/diagnostics/session_end.h"
#include "proxy/net/socket_stream.h"

namespace pgveil::proxy {

// Where a server is: what was connected to, and for which entry of the host list.
struct ServerAddress {
  UpstreamHost host;
  KernelAddress address;
};

// TCP keepalives of a socket: seconds, and how many may stay unanswered.
struct KeepaliveTimes {
  int idle;
  int interval;
  int count;
};
[[nodiscard]] KeepaliveTimes keepalive_times(int descriptor);
void set_keepalive_times(int descriptor, const KeepaliveTimes& times);

// Which servers of an upstream are tried.
struct Course {
  std::optional<ServerAddress> only = {};  // this one and no other, as for a CancelRequest
  std::size_t first_host = 0;              // of the list; those before it come last
  std::string earlier_attempts = {};       // sentences for the report
};

class Connector {
 public:
  enum class State { connecting, connected, failed };
  // How an attempt failed.
  enum class Failed { refused, timed_out };

  // `resolver` and `upstream` must outlive the connector.
  Connector(uv_loop_t* loop, Resolver& resolver, const UpstreamConfig& upstream, Wakeable& owner,
            Course course = {});
  ~Connector();
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

  // Goes on with what has happened. While `connecting`, the owner will be woken.
  [[nodiscard]] State advance();
  // After `connected`: the socket, once, with its watch.
  [[nodiscard]] WatchedSocket take_socket();
  // The address that is being tried, or that was tried last.
  [[nodiscard]] const std::optional<ServerAddress>& server() const { return server_; }

  // Gives the attempt under way up, connected or not: the address, or the look-up of its host's name. False:
  // there is nothing else to try.
  [[nodiscard]] bool skip_address(Failed how, const std::string& what);
  // Gives all addresses of the host up. False: there is no other host, and nothing has changed.
  [[nodiscard]] bool skip_host(const std::string& what);

  // Grows with every attempt, so that each can be given its own time.
  [[nodiscard]] unsigned attempts() const { return attempts_; }
  // The one under way, the other addresses of its host, and the hosts after it.
  [[nodiscard]] std::size_t attempts_left() const;

  // A sentence for each attempt that failed.
  [[nodiscard]] const std::string& report() const { return report_; }
  // The sentence about the attempt under way, if it failed so.
  [[nodiscard]] std::string describe_attempt(const std::string& what) const;
  // Of all attempts together, if the last one failed `how`.
  [[nodiscard]] Ending failure(Failed how, std::string detail) const;
  // After `failed` and skip_address().
  [[nodiscard]] Ending failure() const { return failure(last_failed_, report_); }

 private:
  [[nodiscard]] bool resolve_next_host();
  void start_resolution(const UpstreamHost& host);
  void take_resolved();
  void add_candidate(const UpstreamHost& host, KernelAddress address);
  [[nodiscard]] State start_connecting();
  [[nodiscard]] State await_queue();
  [[nodiscard]] State finish_connecting();
  void note(const std::string& sentence);
  void note_attempt(const std::string& what);
  void close_descriptor();
  [[nodiscard]] std::size_t hosts_left() const { return upstream_.hosts.size() - hosts_begun_; }
  static void on_writable(uv_poll_t* poll, int status, int events);

  uv_loop_t* loop_;
  Resolver& resolver_;
  const UpstreamConfig& upstream_;
  Wakeable& owner_;
  const std::size_t first_host_;
  std::size_t hosts_begun_ = 0;
  UpstreamHost host_;                     // the last that was begun
  std::deque<ServerAddress> candidates_;  // its addresses not tried yet; the front one is being tried
  std::optional<ServerAddress> server_;
  std::unique_ptr<Resolver::Request> resolution_;  // under way
  Handle<uv_poll_t> poll_;                         // of descriptor_
  Deadline retry_;                                 // of a Unix socket whose queue is full
  std::chrono::milliseconds retry_delay_{0};       // 0: its queue is not full
  int descriptor_ = -1;
  bool writable_ = false;
  bool any_resolved_ = false;
  bool out_of_descriptors_ = false;
  Failed last_failed_ = Failed::refused;
  unsigned attempts_ = 0;
  std::string report_;
};

}  // namespace pgveil::proxy
