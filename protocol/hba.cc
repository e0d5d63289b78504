#include "protocol/hba.h"

#include <arpa/inet.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "protocol/hba_record.h"

namespace pgveil::protocol {
namespace {

bool equal_ignoring_case(std::string_view left, std::string_view right) {
  const auto lower = [](char byte) {
    return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte - 'A' + 'a') : byte;
  };
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [&](char one, char other) { return lower(one) == lower(other); });
}

// Compares a host name with a rule, as hostname_match() does.
bool matches_host_name(const std::string& rule, std::string_view name) {
  if (!rule.starts_with('.')) return equal_ignoring_case(rule, name);
  return name.size() >= rule.size() && equal_ignoring_case(rule, name.substr(name.size() - rule.size()));
}

bool matches_connection(RecordType type, const HbaClient& client) {
  if (client.is_unix != (type == RecordType::local)) return false;
  switch (type) {
    case RecordType::hostssl: return client.has_tls;
    case RecordType::hostnossl: return !client.has_tls;
    case RecordType::hostgssenc: return false;  // GSSENCRequest is always declined
    default: return true;
  }
}

// Compares a database with a rule, as check_db() does.
bool matches_database(const NameRule& rule, const HbaClient& client) {
  if (client.physical_replication) return rule.kind == NameRule::Kind::replication;
  switch (rule.kind) {
    case NameRule::Kind::all: return true;
    case NameRule::Kind::same_user: return client.database == client.user;
    case NameRule::Kind::replication: return false;
    case NameRule::Kind::pattern: return rule.pattern->is_in(client.database);
    case NameRule::Kind::name: return rule.name == client.database;
  }
  return false;
}

// Compares a user with a rule, as check_role() does.
bool matches_user(const NameRule& rule, const HbaClient& client) {
  if (rule.kind == NameRule::Kind::pattern) return rule.pattern->is_in(client.user);
  return rule.kind == NameRule::Kind::all || rule.name == client.user;
}

bool matches_database(const HbaRecord& record, const HbaClient& client) {
  return std::any_of(record.databases.begin(), record.databases.end(),
                     [&](const NameRule& rule) { return matches_database(rule, client); });
}

bool matches_user(const HbaRecord& record, const HbaClient& client) {
  return std::any_of(record.users.begin(), record.users.end(),
                     [&](const NameRule& rule) { return matches_user(rule, client); });
}

bool has(const std::vector<NameRule>& names, NameRule::Kind kind) {
  return std::any_of(names.begin(), names.end(), [kind](const NameRule& rule) { return rule.kind == kind; });
}

// Compares an address with any rule except a host name.
bool matches_address(const AddressRule& rule, const IpAddress& address,
                     const std::vector<LocalNetwork>& networks) {
  if (const auto* network = std::get_if<Network>(&rule)) return is_in(address, *network);
  if (std::holds_alternative<AnyAddress>(rule)) return true;
  const bool whole_network = std::holds_alternative<SameNet>(rule);
  return std::any_of(networks.begin(), networks.end(), [&](const LocalNetwork& local) {
    return whole_network ? is_in(address, {local.address, local.netmask}) : address == local.address;
  });
}

}  // namespace

struct HbaRules::Record : HbaRecord {};

tl::expected<HbaRules, AuthFileErrors> HbaRules::parse(const std::vector<AuthLine>& lines) {
  AuthFileErrors errors;
  std::vector<Record> records;
  records.reserve(lines.size());
  for (const AuthLine& line : lines) records.push_back({read_hba_record(line, errors)});
  if (lines.empty())
    errors.push_back(
        {"", 0, "no record found; no client could log in",
         "Write a record for the clients that may log in, such as \"hostssl all all all relay\"."});
  if (!errors.empty()) return tl::unexpected(std::move(errors));
  return HbaRules(std::move(records));
}

HbaMismatch HbaRules::mismatch_of(const Record& record, const HbaClient& client,
                                  const std::vector<LocalNetwork>& networks) {
  if (!matches_connection(record.type, client)) return HbaMismatch::type;
  if (!matches_database(record, client)) return HbaMismatch::database;
  if (!matches_user(record, client)) return HbaMismatch::user;
  const auto* host = std::get_if<HostName>(&record.address);
  if (host != nullptr && !client.host_name) return HbaMismatch::host_name_unknown;
  const bool matches = host != nullptr ? matches_host_name(host->name, *client.host_name)
                                       : matches_address(record.address, client.address, networks);
  return matches ? HbaMismatch::none : HbaMismatch::address;
}

HbaRules::Verdict HbaRules::match(const HbaClient& client, const std::vector<LocalNetwork>& networks) const {
  for (const Record& record : records_) {
    const HbaMismatch mismatch = mismatch_of(record, client, networks);
    if (mismatch == HbaMismatch::host_name_unknown) return {.rule = nullptr, .needs_host_name = true};
    if (mismatch == HbaMismatch::none) return {.rule = &record.rule, .needs_host_name = false};
  }
  return {};
}

std::vector<HbaRules::Compared> HbaRules::compare(const HbaClient& client,
                                                  const std::vector<LocalNetwork>& networks) const {
  std::vector<Compared> compared;
  for (const Record& record : records_) {
    compared.push_back({.rule = &record.rule, .mismatch = mismatch_of(record, client, networks)});
    const HbaMismatch mismatch = compared.back().mismatch;
    if (mismatch == HbaMismatch::none || mismatch == HbaMismatch::host_name_unknown) break;
  }
  return compared;
}

bool HbaRules::may_admit(const HbaClient& client, const std::vector<LocalNetwork>& networks) const {
  bool only_replication = false;  // true once a record has rejected all other connections
  for (const Record& record : records_) {
    if (!matches_connection(record.type, client)) continue;
    const bool by_host_name = std::holds_alternative<HostName>(record.address);
    if (!by_host_name && !matches_address(record.address, client.address, networks)) continue;
    if (record.rule.method != HbaMethod::reject) {
      if (!only_replication || has(record.databases, NameRule::Kind::replication)) return true;
    } else if (!by_host_name && has(record.users, NameRule::Kind::all)) {
      if (has(record.databases, NameRule::Kind::all)) only_replication = true;
      if (only_replication && has(record.databases, NameRule::Kind::replication)) return false;
    }
  }
  return false;
}

bool HbaRules::uses_local_networks() const {
  return std::any_of(records_.begin(), records_.end(), [](const Record& record) {
    return std::holds_alternative<SameHost>(record.address) ||
           std::holds_alternative<SameNet>(record.address);
  });
}

std::vector<const HbaRule*> HbaRules::rules() const {
  std::vector<const HbaRule*> rules;
  for (const Record& record : records_) rules.push_back(&record.rule);
  return rules;
}

HbaRules::HbaRules(std::vector<Record> records) : records_(std::move(records)) {}
HbaRules::HbaRules(HbaRules&&) noexcept = default;
HbaRules& HbaRules::operator=(HbaRules&&) noexcept = default;
HbaRules::~HbaRules() = default;

std::optional<IpAddress> parse_ip_address(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) return std::nullopt;
  const std::string terminated(text);
  IpAddress address;
  if (inet_pton(AF_INET, terminated.c_str(), address.bytes.data()) == 1) return address;
  address.is_ipv6 = true;
  if (inet_pton(AF_INET6, terminated.c_str(), address.bytes.data()) == 1) return address;
  return std::nullopt;
}

std::string_view name_of(HbaMethod method) {
  switch (method) {
    case HbaMethod::reject: return "reject";
    case HbaMethod::relay: return "relay";
    case HbaMethod::scram_sha_256: return "scram-sha-256";
    case HbaMethod::password: return "password";
    case HbaMethod::cert: return "cert";
    case HbaMethod::peer: return "peer";
    case HbaMethod::trust: return "trust";
  }
  return "";
}

std::string_view name_of(CertificateName name) {
  switch (name) {
    case CertificateName::common_name: return "CN";
    case CertificateName::distinguished_name: return "DN";
    case CertificateName::uri: return "URI";
    case CertificateName::dns: return "DNS";
    case CertificateName::email: return "EMAIL";
    case CertificateName::fingerprint: return "FINGERPRINT";
  }
  return "";
}

}  // namespace pgveil::protocol
