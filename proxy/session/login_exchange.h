// The third stage of a session: it makes a verified connection to the server, and relays or makes the login, up to
// the server's ReadyForQuery. If a server cannot be reached or accepts no connections for now, and nothing from it
// has been passed on, the stage tries the next server.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "proxy/login/login.h"
#include "proxy/session/admission.h"
#include "proxy/session/relay.h"
#include "proxy/session/session_context.h"
#include "proxy/session/stage.h"
#include "proxy/upstream/upstream_link.h"

namespace pgveil::proxy {

// A session whose login is complete.
struct LoggedInSession {
  std::unique_ptr<Stream> server;
  std::unique_ptr<Relay> relay;               // between the client and `server`
  std::unique_ptr<KeptLogin> kept = nullptr;  // with reload.sessions = "revalidate"
};

class LoginExchange final : public Stage {
 public:
  enum class State {
    connecting,  // resolving the name, connecting, SSLRequest and its answer
    verifying,   // the TLS handshake with the server: chain, name, CRL
    logging_in,  // until the server's ReadyForQuery
    logged_in,   // take_session() may be called
    failed,      // ending() has the reason
  };

  // `early`: a connection to the upstream that was started before the client was admitted. Null: there is none.
  LoginExchange(SessionContext& context, AdmittedClient client, std::unique_ptr<UpstreamLink> early);
  ~LoginExchange() override;

  // Returns at each change of the state. The caller must then call it again at once.
  [[nodiscard]] State advance();

  // First passes on the bytes of both sides that were read during the login and belong to the session.
  [[nodiscard]] LoggedInSession take_session();
  [[nodiscard]] const Ending& ending() const { return ending_; }

  void report(SessionObserver& observer) const override;
  [[nodiscard]] std::unique_ptr<Stream> release_server() override;

 private:
  class ScratchWipe;
  // The state after one step; nullopt: the step has not changed it.
  using Change = std::optional<State>;

  // Connecting to the server; defined in login_exchange_connect.cc.
  [[nodiscard]] std::unique_ptr<UpstreamLink> link_to_admin_database(Descriptor connection) const;
  [[nodiscard]] State connect();
  [[nodiscard]] State begin_login();
  [[nodiscard]] std::optional<Ending> check_shared_certificate() const;
  [[nodiscard]] std::unique_ptr<Login> make_login() const;
  void send_startup();
  [[nodiscard]] bool may_begin_anew() const;
  [[nodiscard]] std::chrono::milliseconds patience() const;
  [[nodiscard]] Change try_elsewhere(Connector::Failed how, const std::string& what, bool whole_host);
  [[nodiscard]] State dial_again(Connector::Failed how, const std::string& what);
  void forget_attempt();

  [[nodiscard]] State log_in();
  [[nodiscard]] Change check_deadlines();
  [[nodiscard]] Change check_first_message();
  [[nodiscard]] Change take_from_server();
  [[nodiscard]] Change take_from_client();
  [[nodiscard]] State lose_server();
  [[nodiscard]] Login::Progress advance_login();
  [[nodiscard]] std::optional<Ending> answer_client();
  [[nodiscard]] std::optional<Ending> forward_client();
  [[nodiscard]] std::optional<Ending> hold_client();
  void keep(ByteView from_client);
  void pass_on_unread();
  void send(LoginAnswers& answers);
  void note_refusal(std::string_view sqlstate);
  void keep_server();
  void wipe_scratch(std::size_t size);

  [[nodiscard]] State fail(Ending ending);
  [[nodiscard]] Ending timeout_ending() const;
  [[nodiscard]] Ending lost_server_ending();
  [[nodiscard]] Ending left_client_ending();
  [[nodiscard]] Ending broken_client_ending();
  [[nodiscard]] std::optional<Ending> refused_ending();

  SessionContext& context_;
  OpenedClient client_;
  const protocol::HbaMethod method_;
  const std::shared_ptr<const Upstream> upstream_;
  const std::optional<Ending> denial_;
  std::unique_ptr<UpstreamLink> link_;
  bool is_preconnected_ = false;  // link_ was pre-established
  std::unique_ptr<Stream> server_;
  std::unique_ptr<Login> login_;  // null: not connected to the server yet
  std::unique_ptr<Relay> relay_;
  std::unique_ptr<Deadline> answer_deadline_;  // for the server's first message, if another could be tried
  protocol::Bytes unread_of_server_;           // read from the server and not yet passed on
  bool client_was_early_ = false;              // its bytes were sent directly after the StartupMessage
  bool server_has_spoken_ = false;
  bool server_was_heard_ = false;    // messages of the server go to login_
  std::unique_ptr<KeptLogin> kept_;  // null: nothing is kept of the login
  Ending ending_;
};

}  // namespace pgveil::proxy
