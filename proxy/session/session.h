// The life of one client, from accept to the last byte.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include "proxy/net/socket_stream.h"
#include "proxy/session/admission.h"
#include "proxy/session/cancel_forward.h"
#include "proxy/session/client_opening.h"
#include "proxy/session/closing.h"
#include "proxy/session/established_session.h"
#include "proxy/session/kept_login.h"
#include "proxy/session/login_exchange.h"
#include "proxy/session/session_context.h"
#include "proxy/session/session_list.h"
#include "proxy/session/session_phase.h"

namespace pgveil::proxy {

class Session final : public Wakeable {
 public:
  using Phase = SessionPhase;

  // `services` must outlive the session. `registration` is of a client that the listener has counted.
  // `listener_address` is for the log.
  Session(SessionServices& services, SessionRegistration registration, SessionId id, WatchedSocket client,
          const KernelAddress& address, SnapshotListener listener, std::string listener_address);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Runs the session until it must wait. Is called once at the start, and then after each event.
  void wake() override { advance(); }
  // Ends the session because the process ends. Sends an error to the client if the protocol allows it, then closes. A
  // client that is logging in may try another pgveil: the error says so, as in PostgreSQL.
  void shut_down();
  // Returns whether the session may give its place to a newer client: it has existed for kMinTimeToOpen, and waits
  // for bytes of a client that has not sent its StartupMessage; or its login waits after a failed one.
  [[nodiscard]] bool may_make_room() const;
  // Closes the connection of such a client at once and without a message.
  void make_room();
  // Returns whether the client came through the listener that `usage` is of.
  [[nodiscard]] bool is_of(const ListenerUsage& usage) const {
    return &context_.registration.listener() == &usage;
  }
  // Adds an established session to the survey.
  void add_to(SessionSurvey& survey) const;
  // Returns what an operator wants to know of the session.
  [[nodiscard]] ListedSession list() const;
  // Writes the last log line and audit record of a session that is dropped without a message.
  void log_abandoned();
  // Ends the session because the operator wants that, whatever it does. Sends an error to the client if the protocol allows
  // it.
  void terminate() { end_from_outside({.reason = Reason::terminated}); }
  // Ends an established session as soon as it is idle outside a transaction. Refuses a client that is not logged in yet,
  // unless it may want to send a CancelRequest.
  void drain();
  // Ends an established session as soon as it is idle outside a transaction, if `snapshot` would not admit it. A session
  // in its login is not checked here: it asks SessionServices::newest_snapshot at the end of its login.
  enum class Revalidation {
    admitted,      // the session goes on
    ending,        // it ends, now or at its next idle point
    without_data,  // it goes on unchecked: it began while reload.sessions was "keep"
    not_due,       // it is not established, or is already marked to end
  };
  [[nodiscard]] Revalidation revalidate(const Snapshot& snapshot, ChainVerdicts& verdicts);
  // Returns whether the end of the process waits for this session after drain(): the client is admitted, or its
  // CancelRequest is being forwarded, or its last bytes are being sent.
  [[nodiscard]] bool holds_drain() const {
    return phase_ >= Phase::authorize && phase_ < Phase::closed && !is_refused_;
  }

 private:
  void advance();
  // It is not a part of advance(), which runs for every message and must use few registers.
  [[gnu::noinline]] void change_phase(Phase next);
  [[nodiscard]] Phase step();

  [[nodiscard]] Phase open(ClientOpening& opening);
  [[nodiscard]] Phase admit(Admission& admission);
  [[nodiscard]] Phase log_in(LoginExchange& login);
  [[nodiscard]] Phase relay(EstablishedSession& established);
  void check_newest_snapshot();
  [[nodiscard]] Revalidation check(const Snapshot& snapshot, ChainVerdicts& verdicts);
  [[nodiscard]] Phase forward_cancel(CancelForward& cancel);
  [[nodiscard]] Phase close(Closing& closing);

  void connect_early();
  void advance_early();
  [[nodiscard]] Phase begin_cancel(ClientOpening& opening);
  [[nodiscard]] Phase begin_relay(LoginExchange& login);
  [[nodiscard]] Phase end_relay(const EstablishedSession& established, EstablishedSession::State state);

  void end_from_outside(const Ending& ending);
  [[nodiscard]] Phase end(const Ending& ending);
  [[nodiscard]] Phase end_without_memory();
  [[nodiscard]] bool tell_client(const Ending& ending);
  [[nodiscard]] bool has_startup() const;

  template <class T>
  [[nodiscard]] T& stage() {
    return *std::get<std::unique_ptr<T>>(stage_);
  }
  [[nodiscard]] Stage& current_stage();

  const SessionId id_;
  SessionContext context_;
  SessionMetrics& metrics_;
  std::unique_ptr<UpstreamLink> early_link_;  // started before the client is admitted
  Phase phase_ = Phase::negotiate;
  std::chrono::steady_clock::time_point phase_began_;  // only of phases whose duration is counted
  bool advancing_ = false;
  bool woken_ = false;
  bool is_over_ = false;     // on_closed() was called
  bool is_refused_ = false;  // since pgveil drains
  std::variant<std::unique_ptr<ClientOpening>, std::unique_ptr<Admission>, std::unique_ptr<LoginExchange>,
               std::unique_ptr<EstablishedSession>, std::unique_ptr<CancelForward>, std::unique_ptr<Closing>>
      stage_;
};

}  // namespace pgveil::proxy
