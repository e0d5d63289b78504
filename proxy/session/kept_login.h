// What a session keeps of its login with reload.sessions = "revalidate", and the check whether a later snapshot would
// still admit it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>

#include "protocol/hba.h"
#include "proxy/base/socket_address.h"
#include "proxy/diagnostics/session_end.h"
#include "proxy/snapshot/snapshot.h"
#include "tls/digest.h"
#include "tls/established.h"
#include "tls/failure.h"

namespace pgveil::proxy {

struct KeptLogin {
  // What the client asked for, before a rule assigned anything, and what was known about it.
  std::string user;
  std::string database;
  bool names_database = false;
  bool physical_replication = false;
  bool is_for_admin_database = false;
  std::string unix_user;
  std::optional<std::string> host_name;                // nullopt: it was not looked up
  std::shared_ptr<const tls::Established> client_tls;  // null: without TLS
  // What was decided.
  protocol::HbaMethod method = protocol::HbaMethod::reject;
  std::string database_user;
  std::optional<tls::Sha256> secret;  // UserSecrets::fingerprint() of the user, with method scram-sha-256
  // The server. Null: without TLS.
  std::shared_ptr<const tls::PeerChain> server_chain;
  std::string server_host;  // for which its certificate was verified
};

// The verdicts on certificates during one pass over many sessions. A chain that many sessions have in common, such as
// that of their server, is verified once.
class ChainVerdicts {
 public:
  using Verdict = std::optional<tls::FailureReport>;  // nullopt: valid

  // The contexts must outlive the object.
  [[nodiscard]] const Verdict& of_client(const tls::ServerContext& context, const tls::PeerChain& chain);
  [[nodiscard]] const Verdict& of_server(const tls::ClientContext& context, const tls::PeerChain& chain,
                                         const std::string& host);

 private:
  using Key = std::tuple<const void*, tls::Sha256, std::string>;
  std::map<Key, Verdict> verdicts_;
};

// Returns why `now` does not admit the session any more; nullopt: it does. `then` is the session's listener, and
// `address` its client. The listener of `now` with the same address decides.
[[nodiscard]] std::optional<Ending> check_login(const KeptLogin& login, const KernelAddress& address,
                                                const SnapshotListener& then, const Snapshot& now,
                                                ChainVerdicts& verdicts);

}  // namespace pgveil::proxy
