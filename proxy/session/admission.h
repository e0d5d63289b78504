// The second stage of a session. It decides whether the client is admitted, as which database user, and whether
// the limits of the process and the listener leave room for it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "protocol/hba.h"
#include "proxy/access/access_rules.h"
#include "proxy/access/client_host_name.h"
#include "proxy/base/descriptor.h"
#include "proxy/session/client_opening.h"
#include "proxy/session/kept_login.h"
#include "proxy/session/login_limits.h"
#include "proxy/session/session_context.h"
#include "proxy/session/stage.h"

namespace pgveil::proxy {

// A client that was admitted.
struct AdmittedClient {
  OpenedClient client;  // with the StartupMessage that is sent to the server
  protocol::HbaMethod method = protocol::HbaMethod::reject;
  std::shared_ptr<const Upstream> upstream = nullptr;  // of the listener, or ListenerPolicy::admin_database
  Descriptor admin_database = Descriptor(-1);          // the connection to it; below zero: none
  std::optional<Ending> denial = {};                   // LoginSituation::denial
  // The upstream's TLS context, or one with the certificate of the role. Null: without TLS.
  std::shared_ptr<const tls::ClientContext> tls_to_server;
  std::unique_ptr<KeptLogin> kept;  // with reload.sessions = "revalidate"; LoginExchange completes it
};

class Admission final : public Stage {
 public:
  enum class State {
    waiting,   // after failed logins, for the client's host name, or until the audit queue has room
    admitted,  // take_client() may be called
    refused,   // ending() has the reason
  };

  Admission(SessionContext& context, OpenedClient client);

  [[nodiscard]] State advance();

  // Returns whether the login waits after a failed one of the same address.
  [[nodiscard]] bool waits_at_gate() const { return gate_.waits(); }

  [[nodiscard]] AdmittedClient take_client();
  [[nodiscard]] const Ending& ending() const { return ending_; }

 private:
  [[nodiscard]] bool waits_for_audit();
  [[nodiscard]] Decision decide();
  [[nodiscard]] State admit(const Decision& decision);
  [[nodiscard]] std::unique_ptr<KeptLogin> keep_login(const Decision& decision) const;
  [[nodiscard]] std::optional<Ending> connect_to_admin_database(const Decision& decision);
  [[nodiscard]] std::optional<Ending> choose_certificate();
  [[nodiscard]] State refuse(Ending ending);
  [[nodiscard]] Ending timeout_ending() const;

  SessionContext& context_;
  LoginGate gate_;
  AdmittedClient admitted_;
  std::string assigned_database_;  // which decide() asked the rules about, for a client that named none
  std::unique_ptr<ClientHostName> host_name_;
  std::unique_ptr<Deadline> audit_pause_;  // set while the audit queue has no room
  Ending ending_;
};

}  // namespace pgveil::proxy
