// Connects to one server of an upstream: resolves the names, and tries all addresses of all hosts in order,
// as libpq does.
#pragma once

#include <uv.h>

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "proxy/base/deadline.h"
#include "proxy/base/descriptor.h"
#include "proxy/base/handle.h"
#include "proxy/base/resolver.h"
#include "proxy/base/socket_address.h"
#include "proxy/config/config.h"
#include "proxy/diagnostics/session_end.h"
#include "proxy/net/socket_stream.h"

namespace pgveil::proxy {

// The address of a server, and its entry in the list of hosts.
struct ServerAddress {
  UpstreamHost host;
  KernelAddress address;
};

// TCP keepalive times of a socket in seconds, and the number of probes without a reply.
struct KeepaliveTimes {
  int idle;
  int interval;
  int count;
};
[[nodiscard]] KeepaliveTimes keepalive_times(int descriptor);
void set_keepalive_times(int descriptor, const KeepaliveTimes& times);

// The selection of servers to try.
struct Course {
  std::optional<ServerAddress> only = {};  // only this server, as for a CancelRequest
  std::size_t first_host = 0;              // index in the list; hosts before it are tried last
  std::string earlier_attempts = {};       // sentences for report()
  Descriptor connected = Descriptor(-1);   // a connection to `only` that exists already; below zero: none
};

class Connector {
 public:
  enum class State { connecting, connected, failed };
  // The kind of a failure of an attempt.
  enum class Failed { refused, timed_out };

  // `resolver` and `upstream` must outlive the connector.
  Connector(uv_loop_t* loop, Resolver& resolver, const UpstreamConfig& upstream, Wakeable& owner,
            Course course = {});
  ~Connector();
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

  // Continues after an event. While it returns `connecting`, the owner will be woken.
  [[nodiscard]] State advance();
  // Returns the socket, with its poll handle, after `connected`. May be called once.
  [[nodiscard]] WatchedSocket take_socket();
  // Returns the address that is being tried, or that was tried last.
  [[nodiscard]] const std::optional<ServerAddress>& server() const { return server_; }

  // Ends the current attempt, connected or not: the connection to an address, or the look-up of a host name.
  // Returns false if there is nothing else to try.
  [[nodiscard]] bool skip_address(Failed how, const std::string& what);
  // Skips all addresses of the current host. Returns false, and changes nothing, if there is no other host.
  [[nodiscard]] bool skip_host(const std::string& what);

  // Returns the number of attempts so far, so that each attempt can get its own time limit.
  [[nodiscard]] unsigned attempts() const { return attempts_; }
  // Returns the number of remaining attempts: the current one, the other addresses of its host, and the later
  // hosts.
  [[nodiscard]] std::size_t attempts_left() const;

  // Returns one sentence for each failed attempt.
  [[nodiscard]] const std::string& report() const { return report_; }
  // Returns the sentence for the current attempt, if it fails with `what`.
  [[nodiscard]] std::string describe_attempt(const std::string& what) const;
  // Returns the ending for all attempts together, if the last one fails with `how`.
  [[nodiscard]] Ending failure(Failed how, std::string detail) const;
  // Returns the ending after `failed`, or after skip_address() has returned false.
  [[nodiscard]] Ending failure() const { return failure(last_failed_, report_); }

 private:
  [[nodiscard]] bool resolve_next_host();
  void start_resolution(const UpstreamHost& host);
  void take_resolved();
  void add_candidate(const UpstreamHost& host, KernelAddress address);
  [[nodiscard]] State start_connecting();
  [[nodiscard]] bool watch(Descriptor socket);
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
  UpstreamHost host_;                     // the current or last host
  std::deque<ServerAddress> candidates_;  // its addresses not tried yet; the first is being tried
  Descriptor connected_;                  // Course::connected
  std::optional<ServerAddress> server_;
  std::unique_ptr<Resolver::Request> resolution_;  // the current look-up
  Handle<uv_poll_t> poll_;                         // watches descriptor_
  Deadline retry_;                                 // for a Unix socket whose queue is full
  std::chrono::milliseconds retry_delay_{0};       // 0: the queue is not full
  int descriptor_ = -1;
  bool writable_ = false;
  bool any_resolved_ = false;
  bool out_of_descriptors_ = false;
  Failed last_failed_ = Failed::refused;
  unsigned attempts_ = 0;
  std::string report_;
};

}  // namespace pgveil::proxy
