// The rules and identity maps of a listener, and what they decide about a client.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "protocol/hba.h"
#include "protocol/ident.h"
#include "proxy/base/socket_address.h"
#include "proxy/config/config.h"
#include "proxy/config/config_error.h"
#include "proxy/diagnostics/session_end.h"
#include "tls/peer_certificate.h"

namespace pgveil::proxy {

// What is known of a client when it has sent its StartupMessage.
struct ClientAttributes {
  const KernelAddress& address;
  bool has_tls = false;
  const tls::PeerCertificate* certificate = nullptr;  // verified; null: it has shown none
  std::string_view unix_user;                         // at the other end of a Unix socket
  std::string_view user;                              // asked for; may be empty where a rule may assign one
  std::string_view database;
  bool physical_replication = false;
  std::optional<std::string> host_name = {};  // see protocol::HbaClient
};

struct Decision {
  const protocol::HbaRule* rule = nullptr;  // that decided; null: none matched
  bool needs_host_name = false;             // ask again with the client's host name; nothing else is set then
  std::optional<Ending> refusal = {};       // why the client may not come in
  // Where the client may: which database user it is, by which name and which line of a map.
  std::string database_user = {};
  std::string system_user = {};
  protocol::IdentMap::Match mapped = {};
};

class AccessRules {
 public:
  // Reads hba and ident, or takes the built-in rules where the listener has none. `key` is the listener's in
  // `locations`. Returns all errors at once, and in `warnings` what works, but is probably not intended. Adds to `files`
  // the files and directories of rules and maps, with those that they include, also if there are errors.
  [[nodiscard]] static tl::expected<AccessRules, ConfigErrors> build(const ListenerConfig& listener,
                                                                     const std::string& key,
                                                                     const SourceLocations& locations,
                                                                     ConfigErrors& warnings,
                                                                     std::set<std::string>& files);

  // The first rule that matches decides; none is a refusal, as in PostgreSQL.
  [[nodiscard]] Decision decide(const ClientAttributes& attributes) const;
  // What decide() compares: each record up to the one that decides.
  [[nodiscard]] std::vector<protocol::HbaRules::Compared> compare(const ClientAttributes& attributes) const;
  // The decision about a whole StartupMessage. If it names no database and the rules assign a user, the client gets the
  // database with the name of that user; the rules decide about this database, and `assigned_database` is set to it.
  [[nodiscard]] Decision decide_request(ClientAttributes attributes, bool names_database,
                                        std::string& assigned_database) const;
  // Whether some client with TLS could come in from this address.
  [[nodiscard]] bool may_admit(const KernelAddress& address) const;

  // Whether a StartupMessage may come without a user: some rule assigns one.
  [[nodiscard]] bool may_assign() const { return may_assign_; }
  // Whether some rule asks who is at the other end of a Unix socket.
  [[nodiscard]] bool asks_for_peer() const { return asks_for_peer_; }
  // The text of the built-in rules; empty where the listener has its own.
  [[nodiscard]] const std::string& built_in() const { return built_in_; }
  [[nodiscard]] std::vector<const protocol::HbaRule*> rules() const { return hba_.rules(); }
  [[nodiscard]] std::size_t rule_count() const { return hba_.rules().size(); }
  [[nodiscard]] const protocol::IdentMap& ident() const { return ident_; }
  // Whether some rule has this method; whether one of those that lead clients to the server has it.
  [[nodiscard]] bool uses(protocol::HbaMethod method) const;
  [[nodiscard]] bool uses_for_server(protocol::HbaMethod method) const;
  // Whether some rule lets clients in that prove nothing to the server: pgveil's word has to do.
  [[nodiscard]] bool logs_in_for_clients() const;
  // Whether the rule can let a client in whose server is the upstream: not if it is for the admin database only.
  [[nodiscard]] bool leads_to_server(const protocol::HbaRule& rule) const;
  // Whether some rule can let a client into the admin database.
  [[nodiscard]] bool may_admit_to_admin_database() const;

 private:
  AccessRules(protocol::HbaRules hba, protocol::IdentMap ident, std::string built_in,
              std::string admin_database);

  [[nodiscard]] std::vector<protocol::LocalNetwork> networks() const;
  [[nodiscard]] std::optional<Ending> check_identity(const ClientAttributes& attributes,
                                                     Decision& decision) const;

  protocol::HbaRules hba_;
  protocol::IdentMap ident_;
  std::string built_in_;
  std::string admin_database_;  // empty: there is none
  bool may_assign_ = false;
  bool asks_for_peer_ = false;
};

// Whether a client that has come in by this method has nothing to show to the server.
[[nodiscard]] bool logs_in_for_client(protocol::HbaMethod method);
// Whether no server is needed to authenticate a client by this method.
[[nodiscard]] bool works_without_server(protocol::HbaMethod method);

// What a listener without rules of its own does: everybody may come in that its TLS settings admit, and the
// server asks for the password. With ssl_ca_file a certificate is required, and so TLS.
[[nodiscard]] std::string built_in_rules(const ListenerConfig& listener);

}  // namespace pgveil::proxy
