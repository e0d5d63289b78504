// The counters and cancel routes that all sessions of a process share, and the share of one session in them.
// SharedState may be used from any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "proxy/base/client_network.h"
#include "proxy/session/admin_database.h"
#include "proxy/session/cancel_routes.h"
#include "proxy/session/listener_usage.h"
#include "proxy/session/session_limit.h"
#include "proxy/session/unauthenticated_clients.h"

namespace pgveil::proxy {

struct SharedState {
  SharedState(unsigned worker_count, std::size_t max_unauthenticated, std::function<void()> when_room)
      : workers(worker_count), unauthenticated_clients(max_unauthenticated, std::move(when_room)) {}

  const unsigned workers;
  std::atomic<bool> draining{false};  // no client may log in any more
  UnauthenticatedClients
      unauthenticated_clients;  // limits.max_unauthenticated_clients; the listener enters each client that it accepts
  SessionLimit sessions;  // limits.max_sessions
  SessionLimit cancels;   // the cancel requests that are being forwarded
  CancelRoutes cancel_routes;
  AdminDatabase admin_database;
};

// How one client is counted, in the process and for its listener: as unauthenticated from the start (the listener has
// entered it), then as a session or as a cancel request. It also has the cancel route of the session. The destructor
// gives back everything that is still held.
class SessionRegistration {
 public:
  // For a client that the listener has entered in both `unauthenticated_clients`. `shared` must outlive the registration.
  SessionRegistration(SharedState& shared, std::shared_ptr<ListenerUsage> listener)
      : shared_(shared), listener_(std::move(listener)) {}
  ~SessionRegistration();
  // Takes over everything that `other` holds.
  SessionRegistration(SessionRegistration&& other) noexcept;
  SessionRegistration& operator=(SessionRegistration&&) = delete;

  struct MaxSessions {
    std::size_t of_process;
    std::size_t of_listener;  // 0: no limit
  };
  // Counts the client as a session, unless it is counted already or there are as many as `max` of them. Returns
  // whether the client is counted as a session.
  [[nodiscard]] bool enter_session(const MaxSessions& max);
  // Count the session, once, for its database user and for its address. Return false, and change nothing, if there are
  // `max` such sessions of the listener already.
  [[nodiscard]] bool enter_user(const std::string& user, std::size_t max);
  [[nodiscard]] bool enter_address(const ClientNetwork& address, std::size_t max);
  // Counts the client as a cancel request, and no longer as a session or as unauthenticated. Returns false,
  // and changes nothing, if there are too many cancel requests. They are not counted as sessions, because
  // they must be possible when limits.max_sessions is reached.
  [[nodiscard]] bool enter_cancel();
  // Counts the client no longer as unauthenticated. A refused client stays counted until its connection is
  // closed, because it uses memory until then.
  void leave_unauthenticated();

  void add_cancel_route(const protocol::CancelRequest& key, CancelRoute route);
  // Gives back the session's place or the cancel request's place, and removes the cancel route.
  void leave();

  [[nodiscard]] ListenerUsage& listener() const { return *listener_; }

 private:
  // How a session is counted if the listener has limits for it.
  struct Counted {
    std::optional<std::string> user;
    std::optional<ClientNetwork> address;
  };
  [[nodiscard]] Counted& counted();
  void leave_session();

  SharedState& shared_;
  std::shared_ptr<ListenerUsage> listener_;  // null only after a move
  bool is_unauthenticated_ = true;
  bool is_session_ = false;
  bool is_cancel_ = false;
  std::unique_ptr<Counted> counted_;
  std::optional<protocol::CancelRequest> cancel_key_;
};

}  // namespace pgveil::proxy
