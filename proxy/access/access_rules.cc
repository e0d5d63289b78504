#include "proxy/access/access_rules.h"

#include <fmt/format.h>
#include <ifaddrs.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "proxy/access/identity.h"
#include "proxy/access/rule_files.h"
#include "proxy/config/ip_address.h"

namespace pgveil::proxy {
namespace {

using protocol::ClientCertificate;
using protocol::HbaMethod;
using protocol::in_quotes;

// Where the rules stand that nobody has written.
constexpr std::string_view kBuiltIn = "built-in";

// This machine's addresses now, as PostgreSQL asks for them at each connection. If the kernel does not tell them, for
// example for lack of a descriptor, those of the last time.
std::vector<protocol::LocalNetwork> local_networks() {
  thread_local std::vector<protocol::LocalNetwork> last;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return last;
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owned(list, ::freeifaddrs);
  std::vector<protocol::LocalNetwork> networks;
  for (const ifaddrs* each = list; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr || each->ifa_netmask == nullptr) continue;
    const int family = each->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    networks.push_back({ip_address(*each->ifa_addr), ip_address(*each->ifa_netmask)});
  }
  last = networks;
  return networks;
}

// PostgreSQL's sentence without its beginning (auth.c: ClientAuthentication).
std::string described(const ClientAttributes& attributes) {
  const std::string_view encryption = attributes.has_tls ? "SSL encryption" : "no encryption";
  if (attributes.physical_replication)
    return fmt::format("host \"{}\", user \"{}\", {}", host_of(attributes.address), attributes.user,
                       encryption);
  return fmt::format("host \"{}\", user \"{}\", database \"{}\", {}", host_of(attributes.address),
                     attributes.user, attributes.database, encryption);
}

Ending no_rule(const ClientAttributes& attributes) {
  return {.reason = Reason::rejected_by_rule,
          .message = attributes.physical_replication
                         ? "no pg_hba.conf entry for replication connection from " + described(attributes)
                         : "no pg_hba.conf entry for " + described(attributes),
          .hint = "Add a rule to hba or hba_file that matches."};
}

Ending rejected(const ClientAttributes& attributes) {
  return {.reason = Reason::rejected_by_rule,
          .message = (attributes.physical_replication ? "pg_hba.conf rejects replication connection for "
                                                      : "pg_hba.conf rejects connection for ") +
                     described(attributes)};
}

protocol::HbaClient hba_client(const ClientAttributes& attributes) {
  return {.is_unix = attributes.address.is_unix(),
          .has_tls = attributes.has_tls,
          .address = ip_address(*attributes.address.get()),
          .user = attributes.user,
          .database = attributes.database,
          .physical_replication = attributes.physical_replication,
          .host_name = attributes.host_name};
}

std::string place_of(const protocol::HbaRule& rule) {
  return rule.file + ':' + std::to_string(rule.line);
}

Ending not_mapped(const ClientAttributes& attributes, const protocol::HbaRule& rule,
                  const std::vector<std::string>& system_users) {
  Ending ending{.reason = Reason::identity_not_mapped};
  std::string names;
  for (const auto& name : system_users) names += (names.empty() ? "\"" : ", \"") + name + '"';
  const bool is_peer = rule.method == HbaMethod::peer;
  if (is_peer) ending.message = fmt::format("Peer authentication failed for user \"{}\"", attributes.user);
  const std::string whose = is_peer ? "The process of the client" : "The client certificate";
  ending.detail =
      names.empty()
          ? fmt::format("{} has no name for the rule in {} (clientname={}).", whose, place_of(rule),
                        name_of(rule.clientname))
          : fmt::format("{} has the name {}, and the rule in {} does not allow it to log in as \"{}\".",
                        whose, names, place_of(rule), attributes.user);
  ending.hint = rule.map.empty()
                    ? "Without the option map, the name must be equal to that of the database user."
                    : "Add a line for this name to map " + in_quotes(rule.map) + '.';
  return ending;
}

// The key of the setting that is given: `key`, or that of its file.
std::string given_key(const TextOrFile& setting, const std::string& key) {
  return setting.file.empty() ? key : key + "_file";
}

// An error of the whole, such as that no record was found, has the location of the setting.
ConfigErrors located(const protocol::AuthFileErrors& found, const std::string& key,
                     const SourceLocations& locations) {
  const auto whole = locations.find(key);
  ConfigErrors errors = config_errors_of(found, key);
  for (auto& error : errors) {
    if (!error.file.empty()) continue;
    error.file = whole.file;
    error.line = whole.line;
  }
  return errors;
}

// Reads hba and ident of a listener, and collects the errors of both.
class RuleReader {
 public:
  RuleReader(const SourceLocations& locations, ConfigErrors& errors)
      : locations_(locations), errors_(errors) {}

  // Returns the rules; they lack the records whose text has an error. nullopt: a record has an error. `key` is that
  // of the setting that is given.
  [[nodiscard]] std::optional<protocol::HbaRules> read_hba(const TextOrFile& setting,
                                                           const std::string& key) {
    const auto text = read_records(setting, key);
    // Otherwise parse() would report that no record was found.
    if (text.records.empty() && text.has_errors) return std::nullopt;
    return parsed<protocol::HbaRules>(text.records, key);
  }

  // Returns nullopt if a line has an error: it is not known then which maps there are.
  [[nodiscard]] std::optional<protocol::IdentMap> read_ident(const TextOrFile& setting,
                                                             const std::string& key) {
    if (!setting.is_set()) return protocol::IdentMap();
    const auto text = read_records(setting, key);
    auto map = parsed<protocol::IdentMap>(text.records, key);
    return text.has_errors ? std::nullopt : std::move(map);
  }

  // Returns all files and directories that were read, with those that were included.
  [[nodiscard]] const std::set<std::string>& files() const { return files_.paths(); }

 private:
  struct Records {
    std::vector<protocol::AuthLine> records;  // without those that have an error
    bool has_errors = false;
  };

  // The records of a setting, from wherever they stand.
  [[nodiscard]] Records read_records(const TextOrFile& setting, const std::string& key) {
    std::string text = setting.text;
    auto place = locations_.find(key + ".text");
    if (!locations_.knows(key + ".text")) place = {std::string(kBuiltIn), 1};
    if (!setting.file.empty()) {
      const auto content = files_.read(setting.file);
      if (!content) {
        errors_.push_back(locations_.error_at(
            key, "could not read file " + in_quotes(setting.file) + ": " + content.error().text,
            content.error().hint));
        return {{}, true};
      }
      text = *content;
      place = {setting.file, 1};
    }
    protocol::AuthFileErrors errors;
    auto records = protocol::split_auth_file(text, place.file, place.line, files_, errors);
    keep(errors, key);
    return {std::move(records), !errors.empty()};
  }

  template <class Rules>
  [[nodiscard]] std::optional<Rules> parsed(const std::vector<protocol::AuthLine>& records,
                                            const std::string& key) {
    auto rules = Rules::parse(records);
    if (rules) return *std::move(rules);
    keep(rules.error(), key);
    return std::nullopt;
  }

  void keep(const protocol::AuthFileErrors& found, const std::string& key) {
    for (auto& error : located(found, key, locations_)) errors_.push_back(std::move(error));
  }

  const SourceLocations& locations_;
  ConfigErrors& errors_;
  AuthFiles files_;
};

// What a rule asks for that this listener cannot give, or that would let in whoever comes.
class RuleCheck {
 public:
  // `ident` is null if it has errors.
  RuleCheck(const ListenerConfig& listener, std::string key, const protocol::IdentMap* ident,
            ConfigErrors& errors, ConfigErrors& warnings)
      : listener_(listener), key_(std::move(key)), ident_(ident), errors_(errors), warnings_(warnings) {}

  void check(const protocol::HbaRule& rule) const {
    const bool has_tls = listener_.tls_policy() != ListenerTls::off && !listener_.address.is_unix();
    if (rule.only_tls && !has_tls)
      warn(rule, "type hostssl matches no client of this listener, which does not use TLS",
           "Set ssl_cert_file and ssl_key_file, or remove the record.");
    if (rule.only_plaintext && rule.method != HbaMethod::reject &&
        listener_.tls_policy() == ListenerTls::require && !listener_.address.is_unix())
      warn(rule, "type hostnossl matches no client of this listener, which requires TLS",
           "Set tls = \"optional\", or remove the record.");
    if (has_tls && rule.clientcert != ClientCertificate::not_required && listener_.tls.ssl_ca_file.empty())
      complain(rule, "the record requires a client certificate, but the listener does not ask for one",
               "Set ssl_ca_file to the CA of the client certificates.");
    if (rule.method == HbaMethod::trust && !is_trustworthy(rule))
      complain(
          rule, "method trust would allow everyone who can reach this listener to log in as any user",
          "Add clientcert=verify-ca to a hostssl record, use 127.0.0.0/8 or ::1 as the address, or use method "
          "relay.");
    if (rule.method == HbaMethod::scram_sha_256 && listener_.auth_file.empty())
      complain(
          rule, "method scram-sha-256 requires auth_file",
          "Set auth_file to a file with the secrets of the users, or use relay, with which the server authenticates the client.");
    if (!rule.map.empty() && ident_ != nullptr && !ident_->has_map(rule.map))
      complain(rule,
               "map " + in_quotes(rule.map) + " does not exist, so that no client can log in by this record",
               "Add lines of this map to ident or ident_file.");
  }

 private:
  // On a Unix socket and on loopback it is the operator's own machine that comes. The clients of a proxy come from
  // elsewhere, and a loopback address in its header is one of the proxy's machine.
  [[nodiscard]] bool is_trustworthy(const protocol::HbaRule& rule) const {
    if (rule.clientcert != ClientCertificate::not_required) return true;
    const auto& proxies = listener_.proxy_protocol_from;
    if (!proxies.is_empty()) return rule.only_loopback && proxies.are_local();
    if (rule.is_local) return true;
    return rule.only_loopback || listener_.address.is_loopback();
  }
  void complain(const protocol::HbaRule& rule, std::string message, std::string hint) const {
    errors_.push_back({rule.file, rule.line, key_, std::move(message), std::move(hint)});
  }
  void warn(const protocol::HbaRule& rule, std::string message, std::string hint) const {
    warnings_.push_back({rule.file, rule.line, key_, std::move(message), std::move(hint)});
  }

  const ListenerConfig& listener_;
  std::string key_;
  const protocol::IdentMap* ident_;
  ConfigErrors& errors_;
  ConfigErrors& warnings_;
};

}  // namespace

std::string built_in_rules(const ListenerConfig& listener) {
  const auto both = [](const std::string& type, const std::string& rest) {
    return type + " all " + rest + '\n' + type + " replication " + rest + '\n';
  };
  if (listener.address.is_unix())
    return both("local", "all relay") +
           (listener.proxy_protocol_from.is_empty() ? "" : both("host", "all all relay"));
  const std::string certificate = listener.tls.ssl_ca_file.empty() ? "" : " clientcert=verify-ca";
  switch (listener.tls_policy()) {
    case ListenerTls::require: return both("hostssl", "all all relay" + certificate);
    case ListenerTls::optional:
      // Plaintext would be a way round the certificate.
      return certificate.empty() ? both("host", "all all relay")
                                 : both("hostssl", "all all relay" + certificate);
    case ListenerTls::off: break;
  }
  return both("host", "all all relay");
}

bool works_without_server(protocol::HbaMethod method) {
  return logs_in_for_client(method) || method == HbaMethod::scram_sha_256;
}

AccessRules::AccessRules(protocol::HbaRules hba, protocol::IdentMap ident, std::string built_in,
                         std::string admin_database)
    : hba_(std::move(hba)),
      ident_(std::move(ident)),
      built_in_(std::move(built_in)),
      admin_database_(std::move(admin_database)) {
  for (const auto* rule : hba_.rules()) {
    may_assign_ |= rule->assign;
    asks_for_peer_ |= rule->method == HbaMethod::peer;
  }
}

tl::expected<AccessRules, ConfigErrors> AccessRules::build(const ListenerConfig& listener,
                                                           const std::string& key,
                                                           const SourceLocations& locations,
                                                           ConfigErrors& warnings,
                                                           std::set<std::string>& files) {
  TextOrFile hba_text = listener.hba;
  std::string built_in;
  if (!hba_text.is_set()) hba_text.text = built_in = built_in_rules(listener);

  ConfigErrors errors;
  RuleReader reader(locations, errors);
  const std::string ident_key = given_key(listener.ident, key + ".ident");
  auto ident = reader.read_ident(listener.ident, ident_key);
  const std::string hba_key = given_key(hba_text, key + ".hba");
  auto hba = reader.read_hba(hba_text, hba_key);
  files.insert(reader.files().begin(), reader.files().end());
  if (hba) {
    const RuleCheck check(listener, hba_key, ident ? &*ident : nullptr, errors, warnings);
    for (const auto* rule : hba->rules()) check.check(*rule);
  }
  if (!errors.empty()) return tl::unexpected(std::move(errors));
  for (auto& warning : located(ident->warnings(), ident_key, locations))
    warnings.push_back(std::move(warning));
  return AccessRules(*std::move(hba), *std::move(ident), std::move(built_in), listener.admin_database);
}

std::vector<protocol::HbaRules::Compared> AccessRules::compare(const ClientAttributes& attributes) const {
  return hba_.compare(hba_client(attributes), networks());
}

Decision AccessRules::decide(const ClientAttributes& attributes) const {
  const auto verdict = hba_.match(hba_client(attributes), networks());
  Decision decision;
  decision.rule = verdict.rule;
  decision.needs_host_name = verdict.needs_host_name;
  if (verdict.needs_host_name) return decision;
  if (verdict.rule == nullptr) {
    decision.refusal = no_rule(attributes);
  } else if (verdict.rule->method == HbaMethod::reject) {
    decision.refusal = rejected(attributes);
  } else {
    decision.refusal = check_identity(attributes, decision);
  }
  return decision;
}

Decision AccessRules::decide_request(ClientAttributes attributes, bool names_database,
                                     std::string& assigned_database) const {
  assigned_database.clear();
  Decision decision = decide(attributes);
  const bool assigns = decision.rule != nullptr && decision.rule->assign && !decision.refusal;
  if (!assigns || names_database) return decision;
  assigned_database = decision.database_user;
  attributes.database = assigned_database;
  return decide(attributes);
}

bool AccessRules::may_admit(const KernelAddress& address) const {
  return hba_.may_admit({.is_unix = address.is_unix(),
                         .has_tls = true,
                         .address = ip_address(*address.get()),
                         .user = {},
                         .database = {},
                         .host_name = {}},
                        networks());
}

// Those of this machine now, where some rule asks for them.
std::vector<protocol::LocalNetwork> AccessRules::networks() const {
  return hba_.uses_local_networks() ? local_networks() : std::vector<protocol::LocalNetwork>();
}

bool AccessRules::uses(protocol::HbaMethod method) const {
  return std::ranges::any_of(hba_.rules(), [method](const auto* rule) { return rule->method == method; });
}

bool AccessRules::uses_for_server(protocol::HbaMethod method) const {
  return std::ranges::any_of(
      hba_.rules(), [&](const auto* rule) { return rule->method == method && leads_to_server(*rule); });
}

bool AccessRules::logs_in_for_clients() const {
  return std::ranges::any_of(hba_.rules(), [&](const auto* rule) {
    return logs_in_for_client(rule->method) && leads_to_server(*rule);
  });
}

bool AccessRules::leads_to_server(const protocol::HbaRule& rule) const {
  const auto is_admin_database = [&](const std::string& name) { return name == admin_database_; };
  return admin_database_.empty() || rule.only_databases.empty() ||
         !std::ranges::all_of(rule.only_databases, is_admin_database);
}

bool AccessRules::may_admit_to_admin_database() const {
  return std::ranges::any_of(hba_.rules(), [&](const auto* rule) {
    const auto& names = rule->only_databases;
    return works_without_server(rule->method) &&
           (names.empty() || std::ranges::find(names, admin_database_) != names.end());
  });
}

bool logs_in_for_client(protocol::HbaMethod method) {
  return method == HbaMethod::cert || method == HbaMethod::peer || method == HbaMethod::trust;
}

// The certificate first, then whether its name (or the process's) may be this database user.
std::optional<Ending> AccessRules::check_identity(const ClientAttributes& attributes,
                                                  Decision& decision) const {
  const protocol::HbaRule& rule = *decision.rule;
  decision.database_user = attributes.user;
  if (rule.clientcert != ClientCertificate::not_required && attributes.certificate == nullptr)
    return Ending{.reason = Reason::client_certificate_required,
                  .detail = "The rule in " + place_of(rule) + " requires a client certificate.",
                  .hint = "Set sslcert and sslkey on the client."};
  const bool is_peer = rule.method == HbaMethod::peer;
  if (!is_peer && rule.clientcert != ClientCertificate::verify_full) {
    if (attributes.user.empty()) return Ending{.reason = Reason::no_user};
    return std::nullopt;
  }
  std::vector<std::string> names;
  if (!is_peer)
    names = system_users(*attributes.certificate, rule.clientname);
  else if (!attributes.unix_user.empty())
    names.emplace_back(attributes.unix_user);

  const auto mapped = rule.assign ? ident_.assign(rule.map, names, attributes.user)
                                  : ident_.check(rule.map, names, attributes.user);
  if (!mapped) return not_mapped(attributes, rule, names);
  if (mapped->database_user.empty()) return Ending{.reason = Reason::no_user};
  decision.system_user = mapped->system_user;
  decision.database_user = mapped->database_user;
  decision.mapped = *mapped;
  return std::nullopt;
}

}  // namespace pgveil::proxy
