// The counters and cancel routes that all sessions of a process share, and the share of one session in them.
// SharedState may be used from any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <optional>
#include <utility>

#include "proxy/session/cancel_routes.h"
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
};

// How one client is counted: as unauthenticated from the start (the listener has entered it), then as a
// session or as a cancel request. It also has the cancel route of the session. The destructor gives back
// everything that is still held.
class SessionRegistration {
 public:
  // For a client that the listener has entered in `shared.unauthenticated_clients`. `shared` must outlive the registration.
  explicit SessionRegistration(SharedState& shared) : shared_(shared) {}
  ~SessionRegistration();
  // Takes over everything that `other` holds.
  SessionRegistration(SessionRegistration&& other) noexcept;
  SessionRegistration& operator=(SessionRegistration&&) = delete;

  // Counts the client as a session, unless it is counted already or there are `max_sessions` of them. Returns
  // whether the client is counted as a session.
  [[nodiscard]] bool enter_session(std::size_t max_sessions);
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

 private:
  SharedState& shared_;
  bool is_unauthenticated_ = true;
  bool is_session_ = false;
  bool is_cancel_ = false;
  std::optional<protocol::CancelRequest> cancel_key_;
};

}  // namespace pgveil::proxy
