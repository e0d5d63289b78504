#include "proxy/config/address_values.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <strings.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "proxy/config/number_values.h"

namespace pgveil::proxy::values {
namespace {

using Kind = RawValue::Kind;

constexpr std::size_t kLongestUnixPath = sizeof(sockaddr_un::sun_path) - 1;  // 107: room for the NUL
constexpr std::string_view kListenExamples =
    R"(Write HOST:PORT, such as "127.0.0.1:5432" or "[::1]:5432", or "unix:/run/pgveil/.s.PGSQL.5432".)";

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

// Each interface can have the same link-local address, so that such an address requires a zone. No other address may
// have one.
std::optional<ConfigError> check_zone(const std::string& ipv6, const std::string& zone, bool has_zone) {
  constexpr std::size_t kLongest = IF_NAMESIZE - 1;
  const bool needs_zone = is_link_local(ipv6);
  if (needs_zone && !has_zone)
    return value_error(
        "link-local address " + in_quotes(ipv6) + " requires a network interface",
        "Write the name of the interface after the address: " + in_quotes(ipv6 + "%eth0") + '.');
  if (!needs_zone && has_zone)
    return value_error(
        "address " + in_quotes(ipv6 + '%' + zone) + " names a network interface, but is not link-local",
        "Write " + in_quotes(ipv6) + '.');
  const auto is_odd = [](char byte) { return static_cast<unsigned char>(byte) <= ' ' || byte == '/'; };
  if (has_zone && (zone.empty() || zone.size() > kLongest || std::any_of(zone.begin(), zone.end(), is_odd)))
    return value_error(
        "invalid network interface " + in_quotes(zone),
        "Write the name of the interface after the address: " + in_quotes(ipv6 + "%eth0") + '.');
  return std::nullopt;
}

// A numeric address in its shortest spelling, with its zone.
Read<std::string> read_ipv6(const std::string& text) {
  const auto [address, zone] = split_zone(text);
  const bool has_zone = text.find('%') != std::string::npos;
  const auto shown = parse_address(AF_INET6, address);
  if (!shown) return invalid("invalid IPv6 address " + in_quotes(text), "Write a numeric address.");
  if (auto wrong = check_zone(*shown, zone, has_zone)) return tl::unexpected(std::move(*wrong));
  return has_zone ? *shown + '%' + zone : *shown;
}
bool is_ipv4(const std::string& text) {
  return parse_address(AF_INET, text).has_value();
}

// Clients send names, never addresses (RFC 6066, 3).
bool is_sent_as_server_name(std::string_view name) {
  return !is_ipv4(std::string(name)) && name.find('.') != 0;
}

// libpq takes a host as it is; these are the spellings that could only fail later, and less clearly.
std::optional<ConfigError> check_host(const std::string& host) {
  const auto is_control = [](char byte) { return static_cast<unsigned char>(byte) <= ' ' || byte == '\x7f'; };
  if (std::any_of(host.begin(), host.end(), is_control))
    return value_error("host " + in_quotes(host) + " contains a blank or a control character", "Remove it.");
  if (host.front() == '/' || host.front() == '@') return std::nullopt;
  if (is_ipv6_with_zone(host))
    return value_error(
        "host " + in_quotes(host) + " names a network interface, which no certificate contains",
        "Set host to the name in the certificate, and hostaddr to this address.");
  if (is_ipv6(host)) return std::nullopt;
  if (host.find("://") != std::string::npos)
    return value_error("host " + in_quotes(host) + " is a URI",
                       "Set host to the host name only, and port to the port.");
  if (host.front() == '[')
    return value_error("host " + in_quotes(host) + " contains brackets",
                       "Write an IPv6 address without brackets.");
  if (host.find(':') != std::string::npos)
    return value_error("invalid host name " + in_quotes(host),
                       "Write the port of the server in the setting port.");
  if (host.front() == '.' || host.back() == '.')
    return value_error("host name " + in_quotes(host) + " begins or ends with a dot",
                       "Write the name as it is in the certificate, without that dot.");
  if (host.find('@') != std::string::npos)
    return value_error("host " + in_quotes(host) + " contains a user name",
                       "Write the host name only. The client chooses the user.");
  const auto is_ascii = [](char byte) { return static_cast<unsigned char>(byte) < 0x80; };
  if (!std::all_of(host.begin(), host.end(), is_ascii))
    return value_error("host name " + in_quotes(host) + " contains a character that is not ASCII",
                       "Write the name in its ASCII form, with \"xn--\", as it is in the certificate.");
  if (host.find_first_of("/*,\"'\\[]()") != std::string::npos)
    return value_error("invalid host name " + in_quotes(host),
                       "Write a host name, an address, or a directory that begins with \"/\".");
  return std::nullopt;
}

// What is wrong with the path of a Unix socket; nullopt: nothing.
std::optional<ConfigError> check_unix_path(const std::string& path) {
  if (path.size() > kLongestUnixPath)
    return value_error("Unix socket path is too long (" + std::to_string(path.size()) + " bytes, maximum " +
                           std::to_string(kLongestUnixPath) + " bytes)",
                       "Use a directory with a shorter path.");
  if (path.find('\0') != std::string::npos) return value_error("contains a NUL byte", "Remove it.");
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
    return invalid(
        "PostgreSQL clients do not look for a Unix socket at " + in_quotes(path),
        R"(Write "unix:DIR/.s.PGSQL.PORT", such as "unix:/run/pgveil/.s.PGSQL.5432", or "unix:@NAME" )"
        "for the abstract namespace.");
  if (auto error = check_unix_path(path)) return tl::unexpected(*std::move(error));
  return SocketAddress{.host = "", .port = 0, .unix_path = std::move(path)};
}

tl::unexpected<ConfigError> without_brackets(const std::string& ipv6) {
  return invalid("IPv6 address " + in_quotes(ipv6) + " is not in brackets",
                 R"(Write the address in brackets and the port after them, such as "[::1]:5432".)");
}

// A port alone, or with a colon before it.
tl::unexpected<ConfigError> without_host(const std::string& text, std::string port) {
  if (!parse_port(port, 0)) port = "5432";
  return invalid("address " + in_quotes(text) + " has no host",
                 "Write " + in_quotes("127.0.0.1:" + port) + " for clients on this machine, or " +
                     in_quotes("0.0.0.0:" + port) + " for all IPv4 clients.");
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

}  // namespace

Read<SocketAddress> ListenAddress::read(const RawValue& raw) {
  const auto text = read_text(raw);
  if (!text) return tl::unexpected(text.error());
  if (text->starts_with("unix:")) return read_unix_listener(text->substr(5));
  if (text->front() == '/')
    return invalid("invalid address " + in_quotes(*text),
                   "Write " + in_quotes("unix:" + *text) + " for a Unix socket.");

  if (is_ipv6(*text) || is_ipv6_with_zone(*text)) return without_brackets(*text);
  const auto parts = split_host_port(*text);
  if (!parts) return invalid("invalid address " + in_quotes(*text), std::string(kListenExamples));
  if (parts->host.empty() || parse_port(*text, 0)) return without_host(*text, parts->port.value_or(*text));
  if (!parts->port)
    return invalid("address " + in_quotes(*text) + " has no port",
                   "Write " + in_quotes(*text + ":5432") + ", or another port.");
  const auto port = parse_port(*parts->port, 0);
  if (!port)
    return invalid("invalid port " + in_quotes(*parts->port),
                   "Use 1 to 65535, or 0 for any free port. " + std::string(kListenExamples));
  const std::string& host = parts->host;
  if (strcasecmp(host.c_str(), kLocalhost.data()) == 0)
    return SocketAddress{.host = std::string(kLocalhost), .port = *port, .unix_path = ""};
  if (text->front() == '[')
    return read_ipv6(host).map([&](std::string address) {
      return SocketAddress{.host = std::move(address), .port = *port, .unix_path = ""};
    });
  const auto address = parse_address(AF_INET, host);
  if (!address)
    return invalid(
        in_quotes(host) + " is not a numeric address",
        R"(Use a numeric address, or "localhost" for 127.0.0.1 and ::1. "0.0.0.0" stands for all IPv4 )"
        R"(addresses of this machine, and "[::]" for all IPv6 addresses.)");
  return SocketAddress{.host = *address, .port = *port, .unix_path = ""};
}

std::string ListenAddress::show(const SocketAddress& value) {
  return value.host.empty() && !value.is_unix() ? "" : value.text();
}

Read<SocketAddress> AdminAddress::read(const RawValue& raw) {
  constexpr std::string_view kUnix = "unix:";
  const auto text = read_text(raw);
  if (!text) return tl::unexpected(text.error());
  if (!text->starts_with(kUnix)) return ListenAddress::read(raw);
  SocketAddress address{.host = "", .port = 0, .unix_path = text->substr(kUnix.size())};
  if (address.is_abstract())
    return invalid("a Unix socket in the abstract namespace has no permissions", "Use a path.");
  if (!address.unix_path.starts_with('/'))
    return invalid(in_quotes(address.unix_path) + " is not an absolute path",
                   "Write \"unix:PATH\", such as \"unix:/run/pgveil/admin.sock\".");
  if (auto error = check_unix_path(address.unix_path)) return tl::unexpected(*std::move(error));
  return address;
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

Read<std::vector<std::string>> NumericAddressList::read(const RawValue& raw) {
  const auto text = read_text(raw);
  if (!text) return tl::unexpected(text.error());
  auto addresses = split(*text, ',');
  for (const auto& address : addresses) {
    if (address.empty() || is_ipv4(address)) continue;
    if (!is_ipv6(split_zone(address).first))
      return invalid(
          in_quotes(address) + " is not a numeric address",
          "Write IPv4 or IPv6 addresses without brackets and ports. Set host to the name of the server.");
    if (const auto read = read_ipv6(address); !read) return tl::unexpected(read.error());
  }
  return addresses;
}

Read<std::vector<std::string>> ServerNameList::read(const RawValue& raw) {
  const auto text = read_text(raw);
  if (!text) return tl::unexpected(text.error());
  auto names = split(*text, ',');
  for (const auto& name : names) {
    const auto bare = std::string_view(name).substr(name.starts_with("*.") ? 2 : 0);
    if (bare.empty() || bare.find_first_of("* /:") != std::string_view::npos || !is_sent_as_server_name(bare))
      return invalid(
          "invalid server name " + in_quotes(name),
          R"(Write host names, such as "db.example.com" or "*.example.com", with commas between them.)");
  }
  return names;
}

Read<TrustedProxies> ProxyList::read(const RawValue& raw) {
  std::vector<std::string> elements = raw.items;
  if (raw.kind != RawValue::Kind::list) {
    auto names = NameList::read(raw);
    if (!names) return tl::unexpected(std::move(names).error());
    elements = *std::move(names);
  }
  if (elements.empty())
    return invalid("must not be empty", "Write the networks of the proxies, such as [\"10.0.0.0/8\"].");
  TrustedProxies proxies;
  for (const auto& element : elements) {
    if (element == kUnixClients) {
      proxies.unix_clients = true;
    } else if (const auto network = parse_ip_network(element)) {
      proxies.networks.push_back(*network);
    } else {
      return invalid(
          "invalid network " + in_quotes(element),
          "Write an address with a prefix length, such as \"10.0.0.0/8\" or \"fd00::/8\", or \"unix\" "
          "for the clients of a Unix socket.");
    }
  }
  return proxies;
}

std::string ProxyList::show(const TrustedProxies& value) {
  std::vector<std::string> elements;
  for (const auto& network : value.networks) elements.push_back(network.text());
  if (value.unix_clients) elements.emplace_back(kUnixClients);
  return joined(elements);
}

Read<std::vector<std::uint16_t>> PortList::read(const RawValue& raw) {
  const bool has_text = raw.kind == Kind::text || raw.kind == Kind::untyped || raw.kind == Kind::integer;
  if (!has_text) return invalid("requires a port", R"(Write a number, or a list such as "5432,5433".)");
  std::vector<std::uint16_t> ports;
  for (const auto& element : split(raw.text, ',')) {
    const auto port = parse_port(element, 1);
    if (!port) return invalid("invalid port " + in_quotes(element), "Use 1 to 65535.");
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
    if (element.empty()) return invalid("contains an empty element", "Remove the comma beside it.");
    if (is_ipv6(element) || is_ipv6_with_zone(element)) return without_brackets(element);
    const auto parts = split_host_port(element);
    if (!parts || parts->host.empty())
      return invalid("invalid server " + in_quotes(element),
                     R"(Write HOST:PORT, such as "db01.example.com:5432" or "[::1]:5432".)");
    if (const auto wrong = check_host(parts->host)) return tl::unexpected(*wrong);
    const auto port = parse_port(parts->port.value_or("5432"), 1);
    if (!port) return invalid("invalid port " + in_quotes(*parts->port), "Use 1 to 65535 after the colon.");
    servers.hosts.push_back(parts->host);
    servers.ports.push_back(*port);
  }
  return servers;
}

}  // namespace pgveil::proxy::values
