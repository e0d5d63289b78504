// The limits of a listener that a login has to pass: its rate and the delay after failed logins first, the numbers of sessions
// after the rules.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "proxy/base/client_network.h"
#include "proxy/base/deadline.h"
#include "proxy/diagnostics/session_end.h"
#include "proxy/session/session_context.h"

namespace pgveil::proxy {

// Whether a login may begin, by the address of its client.
class LoginGate {
 public:
  enum class State { open, waiting, refused };

  explicit LoginGate(SessionContext& context) : context_(context) {}

  // Counts the login at the first call. `waiting`: the owner is woken when the login may begin.
  [[nodiscard]] State advance();
  [[nodiscard]] const Ending& refusal() const { return refusal_; }
  [[nodiscard]] bool waits() const { return wait_ && !wait_->passed(); }

 private:
  [[nodiscard]] State begin();
  [[nodiscard]] State refuse(Ending ending);

  SessionContext& context_;
  bool has_begun_ = false;
  std::unique_ptr<Deadline> wait_;  // after failed logins
  Ending refusal_;
};

// Counts the session in the process, and for its listener, the database user and the address. Returns the limit
// that is reached, if there is one.
[[nodiscard]] std::optional<Reason> enter_session(SessionContext& context, const std::string& database_user);
// Returns the ending of a session for which enter_session() has returned `limit`.
[[nodiscard]] Ending session_limit_ending(const SessionContext& context, Reason limit,
                                          const std::string& database_user);

// Returns the maxima for a session whose database user is not known yet, or has no reserved sessions.
[[nodiscard]] SessionRegistration::MaxSessions max_unreserved_sessions(const SnapshotListener& listener);

// Returns whether a session that ends for this reason before its login has failed to prove who the client is. If the
// server refuses a login, its SQLSTATE tells that.
[[nodiscard]] bool is_failed_login(Reason reason);
// Store for LoginGate how the login has ended.
void note_failed_login(SessionContext& context);
void note_successful_login(SessionContext& context);

}  // namespace pgveil::proxy
