// The fourth stage of a session, and the longest: it forwards bytes in both directions until a side ends. It
// has all the state that an idle session needs.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "proxy/session/kept_login.h"
#include "proxy/session/login_exchange.h"
#include "proxy/session/relay.h"
#include "proxy/session/session_context.h"
#include "proxy/session/session_survey.h"
#include "proxy/session/side_end.h"
#include "proxy/session/stage.h"

namespace pgveil::proxy {

class EstablishedSession final : public Stage {
 public:
  enum class State {
    relaying,
    // The session has ended; ending() has the reason:
    client_closed,
    client_lost,
    server_closed,
    server_lost,
    ended_when_idle,  // after end_when_idle()
    idle,             // for longer than limits.idle_timeout
  };

  EstablishedSession(SessionContext& context, LoggedInSession session);

  // Forwards the bytes that have arrived.
  [[nodiscard]] State advance();
  // The session ends with `ending` as soon as it is idle outside a transaction. The next advance() checks that, too.
  // After several calls, the first ending counts.
  void end_when_idle(Ending ending);
  [[nodiscard]] bool ends_when_idle() const { return end_when_idle_ != nullptr; }
  // Returns what is kept of the login; nullptr: nothing, because reload.sessions was "keep".
  [[nodiscard]] const KeptLogin* kept_login() const { return kept_login_.get(); }
  [[nodiscard]] Ending ending(State state) const;
  [[nodiscard]] SessionActivity activity() const;

  // Returns `none` inside a message to the client, which would read an error as a part of that message, and after a
  // FATAL error of the server, which is then the last message.
  [[nodiscard]] ErrorFormat error_format() const override;
  void report(SessionObserver& observer) const override;
  [[nodiscard]] std::unique_ptr<Stream> release_server() override;

 private:
  [[nodiscard]] State take_care(std::uint64_t moved_before);
  [[nodiscard]] State check_silence();
  void look_after_client();
  void note_activity(std::uint64_t moved_before);
  void look_after_bulk();
  [[nodiscard]] std::uint64_t moved() const { return relay_->bytes_to_client() + relay_->bytes_to_server(); }
  [[nodiscard]] SideEnd client_end() const;
  [[nodiscard]] SideEnd server_end() const;
  [[nodiscard]] bool is_reset_after_error() const;

  SessionContext& context_;
  std::unique_ptr<Stream> server_;
  std::unique_ptr<Relay> relay_;
  std::unique_ptr<Deadline> bulk_deadline_;      // set while the relay is in bulk mode
  std::chrono::milliseconds last_activity_{0};   // of time_now(); updated only if a timeout needs it
  bool needs_care_ = false;                      // take_care() is called in any case
  std::unique_ptr<const Ending> end_when_idle_;  // null: the session goes on
  std::unique_ptr<const KeptLogin> kept_login_;
  std::unique_ptr<Deadline> lifetime_;      // null: without session_lifetime
  std::unique_ptr<Deadline> client_check_;  // set while the client has ended its side
  std::size_t waiting_ = 0;                 // bytes not yet written at the last note_activity()
};

}  // namespace pgveil::proxy
