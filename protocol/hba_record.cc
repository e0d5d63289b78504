#include "protocol/hba_record.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace pgveil::protocol {
namespace {

constexpr std::array kRecordTypes{
    std::pair{std::string_view("local"), RecordType::local},
    std::pair{std::string_view("host"), RecordType::host},
    std::pair{std::string_view("hostssl"), RecordType::hostssl},
    std::pair{std::string_view("hostnossl"), RecordType::hostnossl},
    std::pair{std::string_view("hostgssenc"), RecordType::hostgssenc},
    std::pair{std::string_view("hostnogssenc"), RecordType::hostnogssenc},
};

template <class Value>
std::pair<std::string_view, Value> named(Value value) {
  return {name_of(value), value};
}

const std::array methods{named(HbaMethod::reject),   named(HbaMethod::relay), named(HbaMethod::scram_sha_256),
                         named(HbaMethod::password), named(HbaMethod::cert),  named(HbaMethod::peer),
                         named(HbaMethod::trust)};
// The methods of PostgreSQL that pgveil does not support.
constexpr std::array<std::string_view, 9> kMethodsOfTheServer{"md5",  "gss",    "sspi", "ident", "pam",
                                                              "ldap", "radius", "bsd",  "oauth"};
const std::array certificate_names{
    named(CertificateName::common_name), named(CertificateName::distinguished_name),
    named(CertificateName::uri),         named(CertificateName::dns),
    named(CertificateName::email),       named(CertificateName::fingerprint)};
constexpr std::array kClientCertificates{
    std::pair{std::string_view("verify-ca"), ClientCertificate::verify_ca},
    std::pair{std::string_view("verify-full"), ClientCertificate::verify_full},
};
constexpr std::array kBits{std::pair{std::string_view("0"), false}, std::pair{std::string_view("1"), true}};

constexpr const char* kLayout = "Write TYPE DATABASE USER ADDRESS METHOD, or local DATABASE USER METHOD.";

// Returns the value of `name` in the table; nullopt: it is not in the table.
template <class Table>
auto find_in(const Table& table, std::string_view name) -> std::optional<decltype(table.front().second)> {
  for (const auto& [its_name, value] : table)
    if (its_name == name) return value;
  return std::nullopt;
}

std::size_t byte_count(const IpAddress& address) {
  return address.is_ipv6 ? 16 : 4;
}

IpAddress netmask_of(bool is_ipv6, std::size_t bits) {
  IpAddress mask{.is_ipv6 = is_ipv6};
  for (std::size_t place = 0; place < bits; ++place)
    mask.bytes[place / 8] = static_cast<std::uint8_t>(mask.bytes[place / 8] | (0x80 >> (place % 8)));
  return mask;
}

// Returns 127.0.0.0/8 or ::1/128.
const Network& loopback_of(bool is_ipv6) {
  static const Network ipv4{{.is_ipv6 = false, .bytes = {127}}, netmask_of(false, 8)};
  static const Network ipv6{*parse_ip_address("::1"), netmask_of(true, 128)};
  return is_ipv6 ? ipv6 : ipv4;
}

// Returns whether only loopback addresses are in the network.
bool is_loopback(const Network& network) {
  const Network& loopback = loopback_of(network.address.is_ipv6);
  for (std::size_t place = 0; place < byte_count(network.address); ++place)
    if ((network.netmask.bytes[place] & loopback.netmask.bytes[place]) != loopback.netmask.bytes[place])
      return false;
  return is_in(network.address, loopback);
}

// Returns whether no loopback address is in the network.
bool excludes_loopback(const Network& network) {
  const Network& loopback = loopback_of(network.address.is_ipv6);
  for (std::size_t place = 0; place < byte_count(network.address); ++place)
    if (((network.address.bytes[place] ^ loopback.address.bytes[place]) & network.netmask.bytes[place] &
         loopback.netmask.bytes[place]) != 0)
      return true;
  return false;
}

// Returns whether the text is meant as an address, not a name. inet_aton() reads "10.1" and "0x0a000001" as
// addresses.
bool looks_like_address(std::string_view text) {
  if (text.find(':') != std::string_view::npos) return true;
  const auto dot = text.rfind('.');
  const auto last = dot == std::string_view::npos ? text : text.substr(dot + 1);
  if (last.starts_with("0x") || last.starts_with("0X")) return true;
  return !last.empty() && last.find_first_not_of("0123456789") == std::string_view::npos;
}

// Returns whether an unquoted name looks like the rest of a regular expression that a comma has split. A name
// with such characters must be quoted.
bool is_rest_of_pattern(std::string_view name) {
  return name.find_first_of("^*+?()[]{}|\\") != std::string_view::npos || name.ends_with('$');
}

bool has_unquoted_pattern(const std::vector<AuthToken>& list) {
  return std::any_of(list.begin(), list.end(),
                     [](const AuthToken& token) { return !token.quoted && token.text.starts_with('/'); });
}

// Reads one record, field by field, as parse_hba_line() does.
class RecordReader {
 public:
  RecordReader(const AuthLine& line, AuthFileErrors& errors) : line_(line), errors_(errors) {}

  // Returns the record. It must not be used if an error has been added.
  HbaRecord read() {
    record_.rule.file = line_.file;
    record_.rule.line = line_.line;
    record_.rule.text = text_of(line_);
    if (read_type() && read_databases() && read_users() && read_address() && read_method()) read_options();
    return std::move(record_);
  }

 private:
  using Tokens = std::vector<AuthToken>;
  struct Options {
    std::optional<ClientCertificate> clientcert;
    std::optional<CertificateName> clientname;
    std::optional<std::string> map;
    std::optional<bool> assign;
  };

  // Each of these functions returns whether the fields after it can be read. It may also add errors if it
  // returns true.
  bool read_type();
  bool read_databases();
  bool read_users();
  bool read_address();
  bool read_netmask(const IpAddress& address);
  bool read_method();
  void read_options();

  std::optional<NameRule> read_name(const AuthToken& token, const Tokens& list);
  bool read_network(std::string_view address, std::string_view bits);
  bool read_host_name(const AuthToken& token);
  bool check_method();
  bool read_option(const std::string& text, Options& options);
  void apply(const Options& options);

  // Returns the next field; nullptr, after adding an error, at the end of the line.
  const Tokens* next(const std::string& what);
  // Returns the next field if it is one token; otherwise adds an error and returns nullptr.
  const AuthToken* next_single(const std::string& what);
  bool fail(std::string message, std::string hint) {
    errors_.push_back({line_.file, line_.line, std::move(message), std::move(hint)});
    return false;
  }
  template <class Table, class Value>
  bool read_value(std::string_view option, std::string_view text, const Table& table,
                  std::optional<Value>& value);

  const AuthLine& line_;
  AuthFileErrors& errors_;
  std::size_t field_ = 0;
  HbaRecord record_;
};

const RecordReader::Tokens* RecordReader::next(const std::string& what) {
  if (field_ < line_.fields.size()) return &line_.fields[field_++];
  fail("the record ends before the " + what, kLayout);
  return nullptr;
}

const AuthToken* RecordReader::next_single(const std::string& what) {
  const Tokens* tokens = next(what);
  if (tokens == nullptr || tokens->size() == 1) return tokens == nullptr ? nullptr : &tokens->front();
  fail("the record has more than one " + what, "Write a record for each.");
  return nullptr;
}

bool RecordReader::read_type() {
  const AuthToken* token = next_single("type");
  if (token == nullptr) return false;
  const auto type = find_in(kRecordTypes, token->text);
  if (!type)
    return fail("invalid connection type " + in_quotes(token->text),
                "Use local, host, hostssl, hostnossl or hostnogssenc.");
  record_.type = *type;
  record_.rule.is_local = *type == RecordType::local;
  record_.rule.only_tls = *type == RecordType::hostssl;
  record_.rule.only_plaintext = *type == RecordType::hostnossl;
  record_.rule.matches_nobody = *type == RecordType::hostgssenc;
  return true;
}

bool RecordReader::read_databases() {
  const Tokens* tokens = next("databases");
  if (tokens == nullptr) return false;
  for (const AuthToken& token : *tokens) {
    if (!token.quoted && (token.text == "samerole" || token.text == "samegroup")) {
      fail(
          in_quotes(token.text) + " depends on the members of a role, which pgveil does not know",
          "Write the names of the databases or a regular expression, or use method relay and let the server's own "
          "pg_hba.conf decide.");
    } else if (auto rule = read_name(token, *tokens)) {
      if (!token.quoted && token.text == "sameuser") rule->kind = NameRule::Kind::same_user;
      if (!token.quoted && token.text == "replication") rule->kind = NameRule::Kind::replication;
      record_.databases.push_back(std::move(*rule));
    }
  }
  const auto is_name = [](const NameRule& rule) { return rule.kind == NameRule::Kind::name; };
  if (std::all_of(record_.databases.begin(), record_.databases.end(), is_name))
    for (const NameRule& rule : record_.databases) record_.rule.only_databases.push_back(rule.name);
  return true;
}

bool RecordReader::read_users() {
  const Tokens* tokens = next("users");
  if (tokens == nullptr) return false;
  for (const AuthToken& token : *tokens) {
    if (!token.quoted && token.text.starts_with('+')) {
      fail(
          in_quotes(token.text) + " depends on the members of a role, which pgveil does not know",
          "Write the names of the roles or a regular expression, or use method relay and let the server's own "
          "pg_hba.conf decide.");
    } else if (auto rule = read_name(token, *tokens)) {
      record_.users.push_back(std::move(*rule));
    }
  }
  return true;
}

// Reads a name of a database or a user. A slash begins a regular expression even in a quoted token.
std::optional<NameRule> RecordReader::read_name(const AuthToken& token, const Tokens& list) {
  const bool may_be_split = !token.quoted && list.size() > 1;
  if (!token.quoted && token.text == "all") return NameRule{NameRule::Kind::all, {}, {}};
  if (!token.text.starts_with('/')) {
    if (may_be_split && is_rest_of_pattern(token.text) && has_unquoted_pattern(list)) {
      fail(in_quotes(token.text) + " is a part of a regular expression that was split at a comma",
           kQuotePattern);
      return std::nullopt;
    }
    return NameRule{NameRule::Kind::name, token.text, {}};
  }
  auto pattern = NamePattern::compile(std::string_view(token.text).substr(1));
  if (pattern) return NameRule{NameRule::Kind::pattern, {}, std::move(*pattern)};
  fail("invalid regular expression " + in_quotes(token.text) + ": " + escaped(pattern.error()),
       may_be_split ? kQuotePattern : kRewritePattern);
  return std::nullopt;
}

bool RecordReader::read_address() {
  if (record_.type == RecordType::local) return true;
  const AuthToken* token = next_single("address");
  if (token == nullptr) return false;
  const std::string_view text = token->text;
  if (!token->quoted && text == "all") return record_.address = AnyAddress{}, true;
  if (!token->quoted && text == "samehost") return record_.address = SameHost{}, true;
  if (!token->quoted && text == "samenet") return record_.address = SameNet{}, true;
  if (const auto slash = text.find('/'); slash != std::string_view::npos)
    return read_network(text.substr(0, slash), text.substr(slash + 1));
  if (const auto address = parse_ip_address(text)) return read_netmask(*address);
  return read_host_name(*token);
}

bool RecordReader::read_network(std::string_view address, std::string_view bits) {
  const auto parsed = parse_ip_address(address);
  if (!parsed)
    return fail(
        "invalid IP address " + in_quotes(address),
        "Write an IP address before \"/\", such as 10.0.0.0/8 or fd00::/8, or a host name without \"/\".");
  std::size_t count = 0;
  const auto [end, error] = std::from_chars(bits.data(), bits.data() + bits.size(), count);
  const std::size_t most = byte_count(*parsed) * 8;
  if (error != std::errc() || end != bits.data() + bits.size() || count > most)
    return fail("invalid prefix length " + in_quotes(bits),
                "Use 0 to " + std::to_string(most) + " after \"/\".");
  record_.address = Network{*parsed, netmask_of(parsed->is_ipv6, count)};
  return true;
}

bool RecordReader::read_netmask(const IpAddress& address) {
  const AuthToken* token = next_single("netmask");
  if (token == nullptr) return false;
  const auto netmask = parse_ip_address(token->text);
  if (!netmask || netmask->is_ipv6 != address.is_ipv6)
    return fail(
        "invalid netmask " + in_quotes(token->text) + " after an IP address",
        "Write the prefix length after the address, such as 10.0.0.0/8, or 192.0.2.1/32 for one client.");
  record_.address = Network{address, *netmask};
  return true;
}

bool RecordReader::read_host_name(const AuthToken& token) {
  if (looks_like_address(token.text))
    return fail("invalid IP address " + in_quotes(token.text),
                "Write four decimal numbers without leading zeros, or an IPv6 address without brackets.");
  if (token.text.empty()) return fail("the address is empty", "Use all for every address.");
  record_.address = HostName{token.text};
  return true;
}

bool RecordReader::read_method() {
  const AuthToken* token = next_single("method");
  if (token == nullptr) return false;
  if (const auto method = find_in(methods, token->text)) {
    record_.rule.method = *method;
    return check_method();
  }
  if (token->text == "ident" && record_.type == RecordType::local)
    return fail("method \"ident\" is not supported for type local", "Use peer.");
  if (std::find(kMethodsOfTheServer.begin(), kMethodsOfTheServer.end(), token->text) !=
      kMethodsOfTheServer.end())
    return fail("method " + in_quotes(token->text) + " is not supported",
                "Use relay, with which the server authenticates the client, or scram-sha-256.");
  return fail("invalid authentication method " + in_quotes(token->text),
              "Use reject, relay, scram-sha-256, password, cert, peer or trust.");
}

bool RecordReader::check_method() {
  const HbaMethod method = record_.rule.method;
  if (method == HbaMethod::cert && record_.type != RecordType::hostssl)
    return fail("method cert requires type hostssl",
                "Use hostssl: a client has a certificate only with TLS.");
  if (method == HbaMethod::peer && record_.type != RecordType::local)
    return fail("method peer requires type local",
                "Use local: the system knows the user of a client only on a Unix socket.");
  if (method == HbaMethod::password && record_.type != RecordType::hostssl)
    return fail(
        "method password requires type hostssl",
        "Use hostssl, since without TLS the password can be read on the network, or use scram-sha-256.");
  return true;
}

void RecordReader::read_options() {
  Options options;
  bool are_valid = true;
  for (; field_ < line_.fields.size(); ++field_)
    for (const AuthToken& token : line_.fields[field_])
      if (!read_option(token.text, options)) are_valid = false;
  if (are_valid) apply(options);
}

// Reads an option. If an option is given twice the last one counts, as in PostgreSQL.
bool RecordReader::read_option(const std::string& text, Options& options) {
  const auto equals = text.find('=');
  if (equals == std::string::npos)
    return fail("authentication option " + in_quotes(text) + " is not in the format NAME=VALUE",
                "Write NAME=VALUE without blanks.");
  const std::string_view name = std::string_view(text).substr(0, equals);
  const std::string_view value = std::string_view(text).substr(equals + 1);
  if (name == "clientcert") return read_value(name, value, kClientCertificates, options.clientcert);
  if (name == "clientname") return read_value(name, value, certificate_names, options.clientname);
  if (name == "assign") return read_value(name, value, kBits, options.assign);
  if (name == "map") return options.map = value, true;
  return fail("unrecognized authentication option name: " + in_quotes(name),
              "The options are clientcert, clientname, map and assign.");
}

template <class Table, class Value>
bool RecordReader::read_value(std::string_view option, std::string_view text, const Table& table,
                              std::optional<Value>& value) {
  if (const auto found = find_in(table, text)) return value = *found, true;
  std::string names;
  for (std::size_t place = 0; place < table.size(); ++place) {
    if (place > 0) names += place + 1 < table.size() ? ", " : " or ";
    names += table[place].first;
  }
  return fail("invalid value for " + std::string(option) + ": " + in_quotes(text), "Use " + names + '.');
}

// Applies the options. They are valid only with some types and methods, and may be in any order.
void RecordReader::apply(const Options& options) {
  HbaRule& rule = record_.rule;
  const bool is_cert = rule.method == HbaMethod::cert;
  if (options.clientcert && record_.type != RecordType::hostssl)
    fail("option clientcert requires type hostssl", "Use hostssl: a client has a certificate only with TLS.");
  if (options.clientcert == ClientCertificate::verify_ca && is_cert)
    fail("method cert cannot be combined with clientcert=verify-ca",
         "Remove the option: method cert always compares the name in the certificate.");
  rule.clientcert =
      is_cert ? ClientCertificate::verify_full : options.clientcert.value_or(ClientCertificate::not_required);

  if (options.clientname && rule.clientcert == ClientCertificate::not_required)
    fail("option clientname has no effect: the record does not require a client certificate",
         "Remove it, or use method cert or clientcert=verify-full.");
  rule.clientname = options.clientname.value_or(CertificateName::common_name);

  const bool compares_certificate =
      rule.clientcert == ClientCertificate::verify_full && rule.method != HbaMethod::reject;
  if (options.map && rule.method != HbaMethod::peer && !compares_certificate)
    fail("option map has no effect: the record does not compare names",
         "Remove it, or use method cert, method peer or clientcert=verify-full.");
  rule.map = options.map.value_or("");

  if (options.assign && !is_cert && rule.method != HbaMethod::peer)
    fail(
        "option assign cannot be used with method " + std::string(name_of(rule.method)),
        "Remove it, or use method cert or peer. With other methods, what the client proves depends on the user name "
        "that it sent.");
  rule.assign = options.assign.value_or(false);

  if (const auto* network = std::get_if<Network>(&record_.address)) {
    rule.only_loopback = is_loopback(*network);
    const bool is_every = network->netmask.bytes == IpAddress{}.bytes;
    (network->address.is_ipv6 ? rule.every_ipv6 : rule.every_ipv4) = is_every;
    (network->address.is_ipv6 ? rule.only_ipv6 : rule.only_ipv4) = true;
    rule.no_loopback = excludes_loopback(*network);
  }
}

}  // namespace

HbaRecord read_hba_record(const AuthLine& line, AuthFileErrors& errors) {
  return RecordReader(line, errors).read();
}

// Compares as check_ip() does: bits outside of the mask are ignored in both addresses.
bool is_in(const IpAddress& address, const Network& network) {
  if (address.is_ipv6 != network.address.is_ipv6 || address.is_ipv6 != network.netmask.is_ipv6) return false;
  for (std::size_t place = 0; place < byte_count(address); ++place)
    if (((address.bytes[place] ^ network.address.bytes[place]) & network.netmask.bytes[place]) != 0)
      return false;
  return true;
}

}  // namespace pgveil::protocol
