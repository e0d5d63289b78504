// What the sessions of a process share, and what one session holds of it. SharedState may be used from any thread.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <utility>

#include "proxy/session/cancel_routes.h"
#include "proxy/session/newcomers.h"
#include "proxy/session/session_limit.h"

namespace pgveil::proxy {

struct SharedState {
  SharedState(unsigned worker_count, std::size_t max_unauthenticated, std::function<void()> when_room)
      : workers(worker_count), newcomers(max_unauthenticated, std::move(when_room)) {}

  const unsigned workers;
  Newcomers newcomers;  // of limits.max_unauthenticated_clients; whoever accepts a client enters it
  Places sessions;      // of limits.max_sessions
  Places cancels;       // the cancel requests that are being forwarded
  CancelRoutes cancel_routes;
};

// What one client is counted as: unauthenticated from the start (the listener has entered it), then as a session or as a
// cancel request. And the route by which its session can be cancelled. Everything is given back at the latest by the
// destructor.
class SessionRegistration {
 public:
  // Of a client that the listener has entered in `shared.newcomers`. `shared` must outlive the registration.
  explicit SessionRegistration(SharedState& shared) : shared_(shared) {}
  ~SessionRegistration();
  // Takes over what the other one holds.
  SessionRegistration(SessionRegistration&& other) noexcept;
  SessionRegistration& operator=(SessionRegistration&&) = delete;

  // Counts the client as a session, unless it is one or there are `max_sessions` of them. Returns whether it is one.
  [[nodiscard]] bool enter_session(std::size_t max_sessions);
  // Counts the client as a cancel request, and no more as a session or as unauthenticated. False: there are too many, and
  // nothing has changed. Cancel requests do not count as sessions: they must come through when all of those are taken.
  [[nodiscard]] bool enter_cancel();
  // A client that is refused stays unauthenticated until its connection is closed: until then it takes memory.
  void leave_unauthenticated();

  void add_cancel_route(const protocol::CancelRequest& key, CancelRoute route);
  // The session ends: gives back its place and its cancel route.
  void leave();

 private:
  SharedState& shared_;
  bool is_unauthenticated_ = true;
  bool is_session_ = false;
  bool is_cancel_ = false;
  std::optional<protocol::CancelRequest> cancel_key_;
};

}  // namespace pgveil::proxy
