// The life of one client, from accept to the last byte.
#pragma once

#include <uv.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/negotiation.h"
#include "proxy/access/client_host_name.h"
#include "proxy/base/deadline.h"
#include "proxy/base/socket_address.h"
#include "proxy/diagnostics/session_end.h"
#include "proxy/login/login.h"
#include "proxy/login/login_plan.h"
#include "proxy/net/socket_stream.h"
#include "proxy/net/tls_stream.h"
#include "proxy/session/cancel_routes.h"
#include "proxy/session/relay.h"
#include "proxy/session/session_record.h"
#include "proxy/session/side_end.h"
#include "proxy/snapshot/snapshot.h"
#include "proxy/upstream/upstream_link.h"

namespace pgveil::proxy {

using SessionId = std::uint64_t;

// What the sessions of a worker share, and how a session says that it is over. A session uses it from the
// thread that it runs in.
class SessionHost {
 public:
  [[nodiscard]] virtual unsigned number() const = 0;  // of the worker, from 1 on
  [[nodiscard]] virtual uv_loop_t* loop() = 0;
  [[nodiscard]] virtual Resolver& resolver() = 0;
  [[nodiscard]] virtual LinkServices link_services() = 0;
  [[nodiscard]] virtual Scratch& scratch() = 0;
  // For established sessions; nullptr: has none, the loop watches all sockets.
  [[nodiscard]] virtual Ring* ring() = 0;
  [[nodiscard]] virtual HandshakeTurns& handshake_turns() = 0;
  [[nodiscard]] virtual CancelRoutes& cancel_routes() = 0;
  [[nodiscard]] virtual LoginServices login_services() = 0;
  // A connection to `upstream` that was made ahead, for `owner` alone; null: there is none.
  [[nodiscard]] virtual std::unique_ptr<UpstreamLink> take_prewarmed(
      const std::shared_ptr<const Upstream>& upstream, Wakeable& owner) = 0;
  // One that was made ahead and leads to `server` was of no use.
  virtual void distrust_prewarmed(const std::shared_ptr<const Upstream>& upstream,
                                  const ServerAddress& server, const Ending& why) = 0;

  // A place among limits.max_sessions, or among the cancel requests under way; false: there is none.
  [[nodiscard]] virtual bool enter_session() = 0;
  virtual void leave_session() = 0;
  [[nodiscard]] virtual bool enter_cancel() = 0;
  virtual void leave_cancel() = 0;
  // The client counts no more among limits.max_unauthenticated_clients, where every client begins.
  virtual void leave_newcomers() = 0;

  // The session has reached Phase::closed; it is destroyed later, off its own stack.
  virtual void session_over(SessionId id) = 0;

 protected:
  ~SessionHost() = default;
};

class Session final : public Wakeable {
 public:
  // In the order of life; the names stand in the log.
  enum class Phase {
    negotiate,        // GSSENCRequest, SSLRequest, direct TLS; or CancelRequest or StartupMessage at once
    accept_tls,       // TLS handshake with the client
    read_startup,     // StartupMessage or CancelRequest, inside TLS
    authorize,        // TLS policy, rules and identity; is there a place for it
    connect,          // resolve, TCP or Unix socket, SSLRequest
    verify_upstream,  // TLS handshake: chain, name, CRL
    log_in,           // until the server's ReadyForQuery
    relay,            // bytes both ways until a side ends
    forward_cancel,   // a CancelRequest on its way, until the server has closed
    closing,          // error delivered, buffers drained
    closed,
  };

  // `host` must outlive the session.
  Session(SessionHost& host, SessionId id, WatchedSocket client, const KernelAddress& peer,
          SnapshotListener listener, std::string listener_address);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Runs what can be run without waiting: once at first, then whenever something has happened.
  void wake() override { advance(); }
  // The process ends: says so to the client where the protocol allows, and closes.
  void shut_down();

 private:
  void advance();
  [[nodiscard]] Phase step();
  [[nodiscard]] Phase end_without_memory();

  [[nodiscard]] Phase negotiate();
  [[nodiscard]] Phase accept_tls();
  [[nodiscard]] Phase authorize();
  [[nodiscard]] bool waits_for_audit();
  [[nodiscard]] Phase connect();
  [[nodiscard]] Phase log_in();
  [[nodiscard]] Phase relay();
  [[nodiscard]] Phase relay_in_silence();
  void note_activity(std::uint64_t moved_before);
  void look_after_bulk();
  [[nodiscard]] Phase forward_cancel();
  [[nodiscard]] Phase close();

  [[nodiscard]] const ListenerPolicy& policy() const { return listener_.policy(); }
  [[nodiscard]] const LimitsConfig& limits() const { return listener_.limits(); }
  [[nodiscard]] Phase begin_tls();
  void connect_early();
  void advance_early();
  [[nodiscard]] Phase admit(const Decision& decision);
  [[nodiscard]] std::optional<Ending> prepare_startup();
  void dial(std::shared_ptr<const tls::ClientContext> context);
  void drop_link();
  void note_server();
  void finish(Stream& stream, bool is_complete);
  [[nodiscard]] Phase begin_login();
  [[nodiscard]] std::unique_ptr<UpstreamLink> new_link(std::shared_ptr<const Upstream> upstream,
                                                       std::shared_ptr<const tls::ClientContext> context,
                                                       Course course = {});
  [[nodiscard]] bool may_begin_anew() const;
  [[nodiscard]] std::optional<Phase> try_elsewhere(Connector::Failed how, const std::string& what,
                                                   bool whole_host);
  [[nodiscard]] Phase dial_again(Connector::Failed how, const std::string& what);
  void forget_attempt();
  [[nodiscard]] std::chrono::milliseconds patience() const;
  [[nodiscard]] Phase begin_relay();
  void add_cancel_route();
  [[nodiscard]] Phase begin_cancel();
  [[nodiscard]] Phase end(const Ending& ending);

  [[nodiscard]] Ending early_leave() const;
  [[nodiscard]] Ending failed_handshake() const;
  [[nodiscard]] Ending negotiation_ending() const;
  [[nodiscard]] Ending timeout_ending() const;
  [[nodiscard]] Ending lost_login_ending();
  [[nodiscard]] Ending left_login_ending();
  [[nodiscard]] Ending broken_login_ending();
  [[nodiscard]] std::optional<Ending> refused_login_ending();
  void note_refusal();
  [[nodiscard]] Ending lost_client_ending() const;
  [[nodiscard]] SideEnd client_end() const;
  [[nodiscard]] SideEnd server_end() const;
  [[nodiscard]] std::optional<Ending> take_login_of_client();
  [[nodiscard]] std::optional<Ending> answer_login_of_client();
  [[nodiscard]] std::optional<Ending> forward_login_of_client();
  [[nodiscard]] std::optional<Ending> hold_login_of_client();
  [[nodiscard]] Login::Progress advance_login();
  void send(LoginAnswers& answers);
  void wipe_scratch(std::size_t size);
  [[nodiscard]] bool has_startup() const;
  void audit(const Ending* refusal);
  [[nodiscard]] bool client_expects_message() const;
  bool tell_client(const Ending& ending);
  void leave();
  void leave_newcomers();
  void forget_login();

  SessionHost& host_;
  const SessionId id_;
  const SnapshotListener listener_;  // with the snapshot under which the session began
  const KernelAddress client_address_;
  const bool client_is_local_;  // on loopback or a Unix socket: the operator's own application
  Phase phase_ = Phase::negotiate;
  bool advancing_ = false;
  bool woken_ = false;
  bool in_session_ = false;  // counted in limits.max_sessions
  bool in_cancel_ = false;
  bool is_newcomer_ = true;                     // counted in limits.max_unauthenticated_clients
  bool is_over_ = false;                        // the host knows
  bool client_was_early_ = false;               // bytes of its login have gone up with the StartupMessage
  bool server_has_spoken_ = false;              // in the login
  bool server_was_heard_ = false;               // and the login has begun to take what it said
  std::chrono::milliseconds last_activity_{0};  // of time_now(); kept only where somebody asks for it
  std::size_t waiting_ = 0;                     // to be sent to either side, when that was kept last
  std::size_t closing_backlog_ = 0;

  std::unique_ptr<Stream> client_;
  std::unique_ptr<Stream> server_;
  Deadline deadline_;
  std::unique_ptr<Record> record_;                // until the relay begins
  std::optional<EstablishedRecord> established_;  // from then on

  // Until the relay begins.
  std::unique_ptr<protocol::Negotiation> negotiation_;
  TlsStream* accepting_ = nullptr;  // client_, during its handshake
  std::optional<HandshakeTurns::Place> handshake_turn_;
  std::string unix_user_;  // who is at the other end of a Unix socket, where somebody wants to know
  std::unique_ptr<ClientName> client_name_;
  std::unique_ptr<Deadline> audit_pause_;  // while the audit file takes no records
  protocol::StartupMessage startup_;       // as the server is to read it
  protocol::HbaMethod method_ = protocol::HbaMethod::reject;
  std::unique_ptr<UpstreamLink> link_;
  std::unique_ptr<Deadline> answer_deadline_;  // for the server's first word, where another could be tried
  std::unique_ptr<Login> login_;
  protocol::Bytes client_in_;  // read and not yet passed on
  protocol::Bytes server_in_;

  std::unique_ptr<Relay> relay_;
  std::unique_ptr<Deadline> bulk_deadline_;            // while it is in bulk
  std::optional<protocol::CancelRequest> cancel_key_;  // of this session, as its server gave it
};

[[nodiscard]] std::string_view name_of(Session::Phase phase);

}  // namespace pgveil::proxy
