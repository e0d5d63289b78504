#include "proxy/config/values.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <strings.h>
#include <sys/un.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <utility>

namespace pgveil::proxy::values {
namespace {

using Kind = RawValue::Kind;

constexpr std::size_t kLongestUnixPath = sizeof(sockaddr_un::sun_path) - 1;  // 107: room for the NUL
constexpr std::string_view kListenExamples =
    R"(Write "127.0.0.1:5432", "[::1]:5432" or "unix:/run/pgveil/.s.PGSQL.5432".)";

tl::unexpected<Problem> problem(std::string what, std::string remedy) {
  return tl::unexpected(Problem{std::move(what), std::move(remedy)});
}

std::optional<std::int64_t> parse_integer(std::string_view digits, int base = 10) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

std::optional<std::uint16_t> parse_port(std::string_view digits, std::int64_t min) {
  const auto value = parse_integer(digits);
  if (!value || *value < min || *value > 65'535 || digits.size() > 5) return std::nullopt;
  return static_cast<std::uint16_t>(*value);
}

// The address in its shortest spelling, if `text` is one of `family`.
std::optional<std::string> parse_address(int family, const std::string& text) {
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  std::array<char, INET6_ADDRSTRLEN> shown{};
  if (inet_pton(family, text.c_str(), bytes.data()) != 1) return std::nullopt;
  return inet_ntop(family, bytes.data(), shown.data(), shown.size());
}

bool is_ipv6(const std::string& text) {
  return parse_address(AF_INET6, text).has_value();
}

// "fe80::1%eth0" in two parts (RFC 4007, 11). The zone is empty if there is none.
std::pair<std::string, std::string> split_zone(const std::string& text) {
  const auto percent = text.find('%');
  if (percent == std::string::npos) return {text, ""};
  return {text.substr(0, percent), text.substr(percent + 1)};
}
bool is_ipv6_with_zone(const std::string& text) {
  return text.find('%') != std::string::npos && is_ipv6(split_zone(text).first);
}

bool is_link_local(const std::string& ipv6) {
  in6_addr address{};
  return inet_pton(AF_INET6, ipv6.c_str(), &address) == 1 && IN6_IS_ADDR_LINKLOCAL(&address);
}

// A link-local address is one of each interface, so that it means nothing without its zone; no other has one.
std::optional<Problem> check_zone(const std::string& ipv6, const std::string& zone, bool has_zone) {
  constexpr std::size_t kLongest = IF_NAMESIZE - 1;
  const bool needs_zone = is_link_local(ipv6);
  if (needs_zone && !has_zone)
    return Problem{in_quotes(ipv6) + " is a link-local address, and needs the interface that it is on",
                   "Write it as " + in_quotes(ipv6 + "%eth0") + '.'};
  if (!needs_zone && has_zone)
    return Problem{in_quotes(ipv6 + '%' + zone) + " has a zone, and is not a link-local address",
                   "Write " + in_quotes(ipv6) + '.'};
  const auto is_odd = [](char byte) { return static_cast<unsigned char>(byte) <= ' ' || byte == '/'; };
  if (has_zone && (zone.empty() || zone.size() > kLongest || std::any_of(zone.begin(), zone.end(), is_odd)))
    return Problem{in_quotes(zone) + " is not the name of a network interface",
                   "Write it as " + in_quotes(ipv6 + "%eth0") + '.'};
  return std::nullopt;
}

// A numeric address in its shortest spelling, with its zone.
Read<std::string> read_ipv6(const std::string& text) {
  const auto [address, zone] = split_zone(text);
  const bool has_zone = text.find('%') != std::string::npos;
  const auto shown = parse_address(AF_INET6, address);
  if (!shown) return problem(in_quotes(text) + " is no numeric address", "Write an IPv6 address.");
  if (auto wrong = check_zone(*shown, zone, has_zone)) return tl::unexpected(std::move(*wrong));
  return has_zone ? *shown + '%' + zone : *shown;
}
bool is_ipv4(const std::string& text) {
  return parse_address(AF_INET, text).has_value();
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const auto end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// A number and its unit. Both empty: none.
std::pair<std::string_view, std::string_view> split_unit(std::string_view text) {
  const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  return {text.substr(0, digits), text.substr(digits)};
}

struct Unit {
  std::string_view name;
  std::int64_t factor;
};
constexpr std::array kTimeUnits{Unit{"d", kDay}, Unit{"h", 3'600'000}, Unit{"min", 60'000}, Unit{"s", 1000},
                                Unit{"ms", 1}};
constexpr std::array kSizeUnits{Unit{"GiB", 1 << 30}, Unit{"MiB", 1 << 20}, Unit{"KiB", 1 << 10},
                                Unit{"B", 1}};

// The number in the base unit, or nullopt where number or unit is none.
template <class Units>
std::optional<std::int64_t> parse_with_unit(std::string_view text, const Units& units) {
  const auto [digits, name] = split_unit(text);
  const auto number = parse_integer(digits);
  if (!number) return std::nullopt;
  for (const Unit& unit : units) {
    if (unit.name != name) continue;
    if (*number > std::numeric_limits<std::int64_t>::max() / unit.factor)
      return std::numeric_limits<std::int64_t>::max();  // above every bound
    return *number * unit.factor;
  }
  return std::nullopt;
}

template <class Units>
std::string show_with_unit(std::int64_t value, std::string_view of_zero, const Units& units) {
  if (value == 0) return "0" + std::string(of_zero);
  for (const Unit& unit : units)
    if (value % unit.factor == 0) return std::to_string(value / unit.factor) + std::string(unit.name);
  return "";
}

// Clients send names, never addresses (RFC 6066, 3).
bool is_sent_as_server_name(std::string_view name) {
  return !is_ipv4(std::string(name)) && name.find('.') != 0;
}

// libpq takes a host as it is; these are the spellings that could only fail later, and less clearly.
std::optional<Problem> check_host(const std::string& host) {
  const auto is_control = [](char byte) { return static_cast<unsigned char>(byte) <= ' ' || byte == '\x7f'; };
  if (std::any_of(host.begin(), host.end(), is_control))
    return Problem{in_quotes(host) + " has a blank or control character in it", "Remove it."};
  if (host.front() == '/' || host.front() == '@') return std::nullopt;
  if (is_ipv6_with_zone(host))
    return Problem{in_quotes(host) + " has a zone, which no certificate has",
                   "Write the name or the address in the certificate here, and this address as hostaddr."};
  if (is_ipv6(host)) return std::nullopt;
  if (host.find("://") != std::string::npos)
    return Problem{in_quotes(host) + " is a URI", "Write the host alone, and the port as `port`."};
  if (host.front() == '[')
    return Problem{in_quotes(host) + " has brackets", "Write an IPv6 address without brackets here."};
  if (host.find(':') != std::string::npos)
    return Problem{in_quotes(host) + " is no host name", "Write the port of the server as `port`, not here."};
  if (host.front() == '.' || host.back() == '.')
    return Problem{in_quotes(host) + " begins or ends with a dot",
                   "Write the name exactly as the certificate has it, without that dot."};
  if (host.find('@') != std::string::npos)
    return Problem{in_quotes(host) + " has a user name in it",
                   "Write the host alone: the client says who the user is."};
  const auto is_ascii = [](char byte) { return static_cast<unsigned char>(byte) < 0x80; };
  if (!std::all_of(host.begin(), host.end(), is_ascii))
    return Problem{in_quotes(host) + " has a character beyond ASCII",
                   "Write the name as the certificate has it, with \"xn--\"."};
  if (host.find_first_of("/*,\"'\\[]()") != std::string::npos)
    return Problem{in_quotes(host) + " is no host name",
                   "Write a name, an address, or a directory that begins with \"/\"."};
  return std::nullopt;
}

// A path, or a name in the abstract namespace, to which clients add the same as to a directory.
Read<SocketAddress> read_unix_listener(std::string path) {
  constexpr std::string_view kName = "/.s.PGSQL.";
  const bool is_abstract = path.starts_with('@') && path.size() > 1;
  if (is_abstract && path.find(kName) == std::string::npos) path.append(kName).append("5432");
  const auto name = path.rfind('/');
  const bool has_name = name != std::string::npos && path.compare(name, kName.size(), kName) == 0;
  if ((!is_abstract && !path.starts_with('/')) || !has_name ||
      !parse_port(std::string_view(path).substr(name + kName.size()), 1))
    return problem(
        in_quotes(path) + " is no path that PostgreSQL's clients look for",
        R"(Write "unix:DIR/.s.PGSQL.PORT", such as "unix:/run/pgveil/.s.PGSQL.5432", or "unix:@NAME" )"
        "for the abstract namespace.");
  if (path.size() > kLongestUnixPath)
    return problem("the path has " + std::to_string(path.size()) + " bytes, more than the " +
                       std::to_string(kLongestUnixPath) + " that a Unix socket can have",
                   "Choose a shorter directory.");
  if (path.find('\0') != std::string::npos) return problem("has a NUL in it", "Remove it.");
  return SocketAddress{.host = "", .port = 0, .unix_path = std::move(path)};
}

// Takes "HOST:PORT", "[IPv6]:PORT" and their forms without a port apart. nullopt: neither.
struct HostPort {
  std::string host;
  std::optional<std::string> port;
};
std::optional<HostPort> split_host_port(const std::string& text) {
  if (text.front() == '[') {
    const auto end = text.find(']');
    if (end == std::string::npos || !is_ipv6(split_zone(text.substr(1, end - 1)).first)) return std::nullopt;
    if (end + 1 == text.size()) return HostPort{text.substr(1, end - 1), std::nullopt};
    if (text[end + 1] != ':') return std::nullopt;
    return HostPort{text.substr(1, end - 1), text.substr(end + 2)};
  }
  const auto colon = text.find(':');
  if (colon == std::string::npos) return HostPort{text, std::nullopt};
  return HostPort{text.substr(0, colon), text.substr(colon + 1)};
}

// Insertions, deletions, substitutions and swaps of neighbours ("optimal string alignment").
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      const bool is_same = a[i - 1] == b[j - 1];
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + (is_same ? 0 : 1)});
      const bool is_swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (is_swap) cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

}  // namespace

std::string in_quotes(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string shown = "\"";
  for (const char byte : text) {
    const auto octet = static_cast<unsigned char>(byte);
    if (octet < ' ' || octet == 0x7f)
      shown += {'\\', 'x', kHex[octet >> 4], kHex[octet & 15]};
    else
      shown += byte;
  }
  return shown + '"';
}

namespace {

bool is_blank_or_quote(char byte) {
  return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r' || byte == '"';
}

// The rest of a text after the first "password=", in any case and with blanks around the sign; nullopt: there
// is none.
std::optional<std::string_view> after_password_key(std::string_view text) {
  constexpr std::array<std::string_view, 3> kKeys{"password", "passwd", "pwd"};
  std::string lower(text);
  for (char& byte : lower) byte = static_cast<char>(std::tolower(static_cast<unsigned char>(byte)));
  std::optional<std::string_view> rest;
  for (const auto key : kKeys)
    for (auto at = lower.find(key); at != std::string::npos; at = lower.find(key, at + 1)) {
      const auto sign = lower.find_first_not_of(" \t", at + key.size());
      if (sign == std::string::npos || lower[sign] != '=') continue;
      const auto begin = std::min(lower.find_first_not_of(" \t", sign + 1), lower.size());
      if (!rest || rest->size() < text.size() - begin) rest = text.substr(begin);
      break;
    }
  return rest;
}

}  // namespace

bool may_hold_password(std::string_view value) {
  if (after_password_key(value)) return true;
  const auto at = value.rfind('@');
  if (at == std::string_view::npos) return false;
  if (value.substr(0, at).find("://") != std::string_view::npos) return true;
  const auto colon = value.find(':');
  return colon < at && colon + 1 < at;
}

std::string without_passwords(std::string_view message) {
  std::string shown;
  for (;;) {
    const auto scheme = message.find("://");
    const auto key = after_password_key(message);
    const auto value = key ? message.size() - key->size() : std::string_view::npos;
    if (scheme == std::string_view::npos && !key) return shown.append(message);
    const bool is_uri = scheme < value;
    const auto begin = is_uri ? scheme + 3 : value;
    auto rest = message.substr(begin);
    const bool is_quoted = !is_uri && rest.starts_with('\'');
    auto size = is_quoted ? std::min(rest.find('\'', 1), rest.size())
                          : static_cast<std::size_t>(
                                std::find_if(rest.begin(), rest.end(), is_blank_or_quote) - rest.begin());
    if (is_uri) {
      const auto at = rest.substr(0, size).rfind('@');
      size = at == std::string_view::npos ? 0 : at;
    }
    shown.append(message.substr(0, begin)).append(size > 0 ? "***" : "");
    message = rest.substr(size);
  }
}

std::string one_of(const std::vector<std::string_view>& words, std::string_view quote) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) text += i + 1 == words.size() ? " or " : ", ";
    text.append(quote).append(words[i]).append(quote);
  }
  return text;
}

Read<std::string> read_text(const RawValue& raw) {
  if (raw.kind != Kind::text && raw.kind != Kind::untyped)
    return problem("must be a string", "Put the value in quotes.");
  if (raw.text.empty()) return problem("is empty", "Give it a value, or remove it.");
  if (raw.text.find('\0') != std::string::npos) return problem("has a NUL in it", "Remove it.");
  return raw.text;
}

Read<std::string> Text::read(const RawValue& raw) {
  return read_text(raw);
}

Read<bool> Boolean::read(const RawValue& raw) {
  if (raw.kind == Kind::boolean) return raw.text == "true";
  if (raw.kind != Kind::untyped) return problem("must be a boolean", "Write true or false, without quotes.");
  for (const char* word : {"true", "on", "yes", "1"})
    if (strcasecmp(raw.text.c_str(), word) == 0) return true;
  for (const char* word : {"false", "off", "no", "0"})
    if (strcasecmp(raw.text.c_str(), word) == 0) return false;
  return problem(in_quotes(raw.text) + " is no boolean", "Write true or false.");
}

Read<std::int64_t> read_integer(const RawValue& raw, std::int64_t min, std::int64_t max) {
  const std::string range = std::to_string(min) + " to " + std::to_string(max);
  if (raw.kind != Kind::integer && raw.kind != Kind::untyped)
    return problem("must be an integer", "Write a number from " + range + ", without quotes.");
  const auto value = parse_integer(raw.text);
  if (!value) return problem(in_quotes(raw.text) + " is no integer", "Write a number from " + range + ".");
  if (*value < min || *value > max)
    return problem(raw.text + " is out of range", "Write a number from " + range + ".");
  return *value;
}

Read<Milliseconds> read_duration(const RawValue& raw, Milliseconds min, Milliseconds max, Milliseconds step) {
  if (const bool bare = !raw.text.empty() && split_unit(raw.text).second.empty(); bare)
    return problem(raw.text + " has no unit",
                   "Write " + in_quotes(raw.text + "s") + " for seconds; other units are ms, min, h and d.");
  const auto text = read_text(raw);
  if (!text) return problem("must be a duration", R"(Write a number and its unit in quotes, such as "15s".)");
  const auto value = parse_with_unit(*text, kTimeUnits);
  if (!value)
    return problem(in_quotes(*text) + " is no duration",
                   R"(Write a whole number and one of the units ms, s, min, h, d, such as "15s".)");
  if (*value < min.count() || *value > max.count())
    return problem(in_quotes(*text) + " is out of range", "Write a duration from " +
                                                              in_quotes(show_duration(min)) + " to " +
                                                              in_quotes(show_duration(max)) + ".");
  if (*value % step.count() != 0) return problem(in_quotes(*text) + " is too fine", "Write whole seconds.");
  return Milliseconds(*value);
}

std::string show_duration(Milliseconds value) {
  return show_with_unit(value.count(), "s", kTimeUnits);
}

Read<std::size_t> read_size(const RawValue& raw, std::size_t min, std::size_t max) {
  if (const bool bare = !raw.text.empty() && split_unit(raw.text).second.empty(); bare)
    return problem(raw.text + " has no unit",
                   "Write " + in_quotes(raw.text + "B") + " for bytes; other units are KiB, MiB and GiB.");
  const auto text = read_text(raw);
  if (!text) return problem("must be a size", R"(Write a number and its unit in quotes, such as "64KiB".)");
  const auto value = parse_with_unit(*text, kSizeUnits);
  if (!value)
    return problem(in_quotes(*text) + " is no size",
                   R"(Write a whole number and one of the units B, KiB, MiB, GiB, such as "64KiB".)");
  if (std::cmp_less(*value, min) || std::cmp_greater(*value, max))
    return problem(in_quotes(*text) + " is out of range", "Write a size from " + in_quotes(show_size(min)) +
                                                              " to " + in_quotes(show_size(max)) + ".");
  return static_cast<std::size_t>(*value);
}

std::string show_size(std::size_t bytes) {
  return show_with_unit(static_cast<std::int64_t>(bytes), "B", kSizeUnits);
}

Read<unsigned> Permissions::read(const RawValue& raw) {
  const auto text = read_text(raw);
  const auto value = text ? parse_integer(*text, 8) : std::nullopt;
  if (!value || *value < 0 || *value > 0777)
    return problem("is no mode of a file", R"(Write it in octal and in quotes, such as "0770".)");
  return static_cast<unsigned>(*value);
}

std::string Permissions::show(unsigned value) {
  std::string octal = "0";
  for (const int shift : {6, 3, 0}) octal += static_cast<char>('0' + ((value >> shift) & 7U));
  return octal;
}

Read<SocketAddress> ListenAddress::read(const RawValue& raw) {
  const auto text = read_text(raw);
  if (!text) return tl::unexpected(text.error());
  if (text->starts_with("unix:")) return read_unix_listener(text->substr(5));
  if (text->front() == '/')
    return problem(in_quotes(*text) + " is no address", "Write " + in_quotes("unix:" + *text) + ".");

  const auto parts = split_host_port(*text);
  if (!parts) return problem(in_quotes(*text) + " is no address", std::string(kListenExamples));
  if (!parts->port && parse_port(*text, 0))
    return problem(in_quotes(*text) + " is a port without an address",
                   "Write " + in_quotes("127.0.0.1:" + *text) + " for clients on this machine, or " +
                       in_quotes("0.0.0.0:" + *text) + " for all IPv4 clients.");
  if (!parts->port)
    return problem(in_quotes(*text) + " has no port", "Write " + in_quotes(*text + ":5432") + ".");
  const auto port = parse_port(*parts->port, 0);
  if (!port)
    return problem(in_quotes(*text) + " has no valid port",
                   "Write a port from 1 to 65535, or 0 for any free one. " + std::string(kListenExamples));
  const std::string& host = parts->host;
  if (strcasecmp(host.c_str(), kLocalhost.data()) == 0)
    return SocketAddress{.host = std::string(kLocalhost), .port = *port, .unix_path = ""};
  if (text->front() == '[')
    return read_ipv6(host).map([&](std::string address) {
      return SocketAddress{.host = std::move(address), .port = *port, .unix_path = ""};
    });
  const auto address = parse_address(AF_INET, host);
  if (!address)
    return problem(
        in_quotes(host) + " is no numeric address",
        R"(A listener takes a numeric address, or "localhost" for 127.0.0.1 and ::1; "0.0.0.0" and "[::]" )"
        "are all addresses of this machine.");
  return SocketAddress{.host = *address, .port = *port, .unix_path = ""};
}

std::string ListenAddress::show(const SocketAddress& value) {
  return value.host.empty() && !value.is_unix() ? "" : value.text();
}

Read<std::vector<std::string>> HostList::read(const RawValue& raw) {
  const auto text = read_text(raw);
  if (!text) return tl::unexpected(text.error());
  auto hosts = split(*text, ',');
  for (const auto& host : hosts) {
    if (host.empty()) continue;
    if (const auto wrong = check_host(host)) return tl::unexpected(*wrong);
  }
  return hosts;
}

std::string HostList::show(const std::vector<std::string>& value) {
  std::string text;
  for (const auto& host : value) text.append(text.empty() ? "" : ",").append(host);
  return text;
}

Read<std::vector<std::string>> NumericAddressList::read(const RawValue& raw) {
  const auto text = read_text(raw);
  if (!text) return tl::unexpected(text.error());
  auto addresses = split(*text, ',');
  for (const auto& address : addresses) {
    if (address.empty() || is_ipv4(address)) continue;
    if (!is_ipv6(split_zone(address).first))
      return problem(in_quotes(address) + " is no numeric address",
                     "Write IPv4 or IPv6 addresses without brackets and ports; a name belongs to `host`.");
    if (const auto read = read_ipv6(address); !read) return tl::unexpected(read.error());
  }
  return addresses;
}

Read<std::vector<std::string>> NameList::read(const RawValue& raw) {
  const auto text = read_text(raw);
  if (!text) return tl::unexpected(text.error());
  auto names = split(*text, ',');
  for (auto& name : names) {
    const auto begin = name.find_first_not_of(" \t\n");
    if (begin == std::string::npos) return problem("has an empty element in its list", "Remove the comma.");
    name = name.substr(begin, name.find_last_not_of(" \t\n") - begin + 1);
  }
  return names;
}

Read<std::vector<std::string>> CommandWords::read(const RawValue& raw) {
  if (raw.kind != Kind::list)
    return problem("must be an array of strings",
                   R"(Write the program and each argument by itself: ["/usr/bin/token", "--user", "%u"].)");
  if (raw.items.empty() || raw.items.front().empty())
    return problem("names no program", "Write the program first.");
  for (const auto& item : raw.items)
    if (item.find('\0') != std::string::npos) return problem("holds a NUL", "Remove it.");
  return raw.items;
}

std::string CommandWords::show(const std::vector<std::string>& value) {
  std::string text;
  for (const auto& word : value) text.append(text.empty() ? "[" : ", ").append(in_quotes(word));
  return text.empty() ? text : text + ']';
}

Read<AuthMethods> AuthMethodList::read(const RawValue& raw) {
  const auto text = read_text(raw);
  if (!text) return tl::unexpected(text.error());
  auto methods = parse_auth_methods(*text);
  if (!methods)
    return problem(methods.error(),
                   "Known are password, md5, gss, sspi, scram-sha-256, oauth and none; all of them may be "
                   "negated with \"!\".");
  return *methods;
}

Read<std::vector<std::string>> ServerNameList::read(const RawValue& raw) {
  const auto text = read_text(raw);
  if (!text) return tl::unexpected(text.error());
  auto names = split(*text, ',');
  for (const auto& name : names) {
    const auto bare = std::string_view(name).substr(name.starts_with("*.") ? 2 : 0);
    if (bare.empty() || bare.find_first_of("* /:") != std::string_view::npos || !is_sent_as_server_name(bare))
      return problem(
          in_quotes(name) + " is no name that a client sends",
          R"(Write host names, such as "db.example.com" or "*.example.com", with commas between.)");
  }
  return names;
}

Read<std::vector<std::uint16_t>> PortList::read(const RawValue& raw) {
  const bool has_text = raw.kind == Kind::text || raw.kind == Kind::untyped || raw.kind == Kind::integer;
  if (!has_text) return problem("must be a port", R"(Write a number, or a list such as "5432,5433".)");
  std::vector<std::uint16_t> ports;
  for (const auto& element : split(raw.text, ',')) {
    const auto port = parse_port(element, 1);
    if (!port) return problem(in_quotes(element) + " is no port", "Write numbers from 1 to 65535.");
    ports.push_back(*port);
  }
  return ports;
}

std::string PortList::show(const std::vector<std::uint16_t>& value) {
  std::string text;
  for (const auto port : value) text.append(text.empty() ? "" : ",").append(std::to_string(port));
  return text;
}

Read<HostsAndPorts> read_hosts_and_ports(const RawValue& raw) {
  const auto text = read_text(raw);
  if (!text) return tl::unexpected(text.error());
  // Before it is taken apart: the host of a URI would be its scheme.
  if (text->find("://") != std::string::npos) return tl::unexpected(*check_host(*text));
  HostsAndPorts servers;
  for (const auto& element : split(*text, ',')) {
    if (element.empty()) return problem("has an empty element in its list", "Remove the comma.");
    if (is_ipv6(element) || is_ipv6_with_zone(element))
      return problem(in_quotes(element) + " may end with a port or not",
                     "Write an IPv6 address in brackets: " + in_quotes('[' + element + "]:5432") + ".");
    const auto parts = split_host_port(element);
    if (!parts || parts->host.empty())
      return problem(in_quotes(element) + " is no server",
                     R"(Write HOST:PORT, such as "db01.example.com:5432" or "[::1]:5432".)");
    if (const auto wrong = check_host(parts->host)) return tl::unexpected(*wrong);
    const auto port = parse_port(parts->port.value_or("5432"), 1);
    if (!port)
      return problem(in_quotes(*parts->port) + " is no port",
                     "Write a number from 1 to 65535 behind the colon.");
    servers.hosts.push_back(parts->host);
    servers.ports.push_back(*port);
  }
  return servers;
}

Read<tls::Version> TlsVersion::read(const RawValue& raw) {
  const auto text = read_text(raw);
  if (!text) return tl::unexpected(text.error());
  const auto version = tls::version_from_name(*text);
  if (!version)
    return problem(in_quotes(*text) + " is no TLS version",
                   R"(Write "TLSv1.2" or "TLSv1.3" ("TLSv1" and "TLSv1.1" are known, too).)");
  return *version;
}

Read<SslMode> SslModeWord::read(const RawValue& raw) {
  constexpr std::array<std::string_view, 4> kWithoutIdentity{"allow", "prefer", "require", "verify-ca"};
  if (std::find(kWithoutIdentity.begin(), kWithoutIdentity.end(), raw.text) != kWithoutIdentity.end())
    return problem(
        in_quotes(raw.text) +
            " does not establish who the server is: encryption without identity is "
            "refused",
        R"(Write "verify-full" (the default), or "disable" for a Unix socket or a loopback address.)");
  return OneOf<kSslModes>::read(raw);
}

Read<std::string> SessionAttributes::read(const RawValue& raw) {
  const auto text = read_text(raw);
  if (!text) return tl::unexpected(text.error());
  if (*text != "any")
    return problem(in_quotes(*text) + " is not supported: pgveil does not ask a server what role it has",
                   R"(Write "any", or leave it to the client, whose driver can ask every server.)");
  return *text;
}

std::string_view nearest(std::string_view word, const std::vector<std::string_view>& candidates) {
  std::string_view best;
  // Of a short word, two changes leave nothing that is like it.
  std::size_t best_distance = std::max<std::size_t>(word.size() < 4 ? 1 : 2, word.size() / 4) + 1;
  for (const auto candidate : candidates) {
    const auto distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace pgveil::proxy::values
