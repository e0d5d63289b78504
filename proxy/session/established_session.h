// The fourth stage of a session, and the longest: bytes both ways until a side ends. All that an idle session keeps is here.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "proxy/session/login_exchange.h"
#include "proxy/session/relay.h"
#include "proxy/session/session_context.h"
#include "proxy/session/side_end.h"
#include "proxy/session/stage.h"

namespace pgveil::proxy {

class EstablishedSession final : public Stage {
 public:
  enum class State {
    relaying,
    // Ended, which ending() describes:
    client_closed,
    client_lost,
    server_closed,
    server_lost,
    idle,        // for longer than limits.idle_timeout
    unanswered,  // the client has ended its side, and the server has been silent since
  };

  EstablishedSession(SessionContext& context, LoggedInSession session);

  // Moves what has come.
  [[nodiscard]] State advance();
  [[nodiscard]] Ending ending(State state) const;

  // Inside a message to the client, an error would be read as a part of it; and the server's own last words stand.
  [[nodiscard]] ErrorFormat error_format() const override;
  void report(SessionObserver& observer) const override;
  [[nodiscard]] std::unique_ptr<Stream> release_server() override;

 private:
  [[nodiscard]] State check_silence();
  [[nodiscard]] Ending unanswered_ending() const;
  void note_activity(std::uint64_t moved_before);
  void look_after_bulk();
  void set_idle_deadline();
  [[nodiscard]] std::uint64_t moved() const { return relay_->bytes_to_client() + relay_->bytes_to_server(); }
  [[nodiscard]] SideEnd client_end() const;
  [[nodiscard]] SideEnd server_end() const;

  SessionContext& context_;
  std::unique_ptr<Stream> server_;
  std::unique_ptr<Relay> relay_;
  std::unique_ptr<Deadline> bulk_deadline_;     // while the relay is in bulk
  std::chrono::milliseconds last_activity_{0};  // of time_now(); kept only if there is a timeout for it
  std::size_t waiting_ = 0;                     // to be sent to either side, when that was kept last
};

}  // namespace pgveil::proxy
