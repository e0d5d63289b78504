#include "tls/host_name.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>

namespace pgveil::tls {
namespace {

using Kind = CertificateNames::Kind;

char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// Like pg_strcasecmp() for ASCII: a host name contains nothing else.
bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return to_lower(x) == to_lower(y); });
}

// Like wildcard_certificate_match() in fe-secure-common.c: the wildcard is the whole leftmost label.
bool matches_wildcard(std::string_view pattern, std::string_view host) {
  if (pattern.size() < 3 || !pattern.starts_with("*.")) return false;
  if (pattern.size() > host.size()) return false;
  const std::string_view tail = pattern.substr(1);
  const std::size_t covered = host.size() - tail.size();
  if (!equals_ignoring_case(tail, host.substr(covered))) return false;
  // The check in libpq is off by one byte and accepts "a..example.com". No resolver accepts such a name, so
  // here it does not match.
  return host.find('.') >= covered;
}

// Returns mismatch for a dNSName or a CN that cannot match; malformed for a name with a NUL, as libpq does.
HostMatch check_name(std::string_view name) {
  return name.find('\0') != std::string_view::npos ? HostMatch::malformed : HostMatch::mismatch;
}

// Compares without wildcards, for an address written as text.
HostMatch match_text(std::string_view host, std::string_view name) {
  return equals_ignoring_case(name, host) ? HostMatch::match : check_name(name);
}

HostMatch match_name(std::string_view host, std::string_view name) {
  return matches_wildcard(name, host) && check_name(name) == HostMatch::mismatch ? HostMatch::match
                                                                                 : match_text(host, name);
}

// Returns the bytes of `host`, parsed as inet_aton() and inet_pton() do; empty if it is not an address of
// that length.
std::string address_bytes(const std::string& host, std::size_t length) {
  std::array<char, sizeof(in6_addr)> bytes{};
  in_addr v4{};
  if (length == sizeof v4) {
    if (::inet_aton(host.c_str(), &v4) == 0) return {};
    const auto* begin = reinterpret_cast<const char*>(&v4);
    return {begin, sizeof v4};
  }
  if (::inet_pton(AF_INET6, host.c_str(), bytes.data()) != 1) return {};
  return {bytes.data(), bytes.size()};
}

HostMatch match_address(std::string_view host, std::string_view bytes) {
  if (bytes.size() != sizeof(in_addr) && bytes.size() != sizeof(in6_addr)) return HostMatch::malformed;
  return address_bytes(std::string(host), bytes.size()) == bytes ? HostMatch::match : HostMatch::mismatch;
}

std::string address_text(std::string_view bytes) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = bytes.size() == sizeof(in_addr) ? AF_INET : AF_INET6;
  if (bytes.size() != sizeof(in_addr) && bytes.size() != sizeof(in6_addr))
    return "an address of impossible length";
  ::inet_ntop(family, bytes.data(), text.data(), text.size());
  return text.data();
}

}  // namespace

HostMatch match_host(std::string_view host, const CertificateNames& names, CommonNameRule rule) {
  // inet_aton() and inet_pton() would stop reading at a NUL.
  if (host.empty() || host.find('\0') != std::string_view::npos) return HostMatch::mismatch;
  const Kind kind_of_host = is_ip_address(host) ? Kind::ip_address : Kind::dns_name;
  // Also true for "256.1.1.1" and "fe80::1%eth0", which are neither an address nor a host name.
  const bool is_numeric = kind_of_host == Kind::ip_address || !is_sent_as_sni(host);
  bool same_kind_seen = false;
  for (const auto& [kind, value] : names.alternative_names) {
    if (kind == kind_of_host) same_kind_seen = true;
    const auto match = kind != Kind::dns_name ? match_address(host, value)
                       : is_numeric           ? check_name(value)
                                              : match_name(host, value);
    if (match != HostMatch::mismatch) return match;
  }
  // The CN is obsolete: it decides only if there is no alternative name of the host's kind.
  if (rule == CommonNameRule::never || same_kind_seen || !names.first_common_name) return HostMatch::mismatch;
  return is_numeric ? match_text(host, *names.first_common_name) : match_name(host, *names.first_common_name);
}

bool is_ip_address(std::string_view host) {
  const std::string text(host);
  if (text.find('\0') != std::string::npos) return false;
  in_addr v4{};
  in6_addr v6{};
  return ::inet_aton(text.c_str(), &v4) != 0 || ::inet_pton(AF_INET6, text.c_str(), &v6) == 1;
}

bool is_sent_as_sni(std::string_view host) {
  if (host.empty() || host.find(':') != std::string_view::npos) return false;
  return host.find_first_not_of("0123456789.") != std::string_view::npos;
}

std::string printable(std::string_view name) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string text;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f && c != '"' && c != '\\') {
      text += c;
    } else {
      text += {'\\', 'x', kHex[byte >> 4U], kHex[byte & 0xfU]};
    }
  }
  return text;
}

std::string describe(const CertificateNames& names, CommonNameRule rule) {
  // A certificate can contain thousands of names; a person reads only a few.
  constexpr std::size_t kMaxNames = 16;
  std::string text;
  std::size_t count = 0;
  for (const auto& [kind, value] : names.alternative_names) {
    if (++count > kMaxNames) continue;
    if (!text.empty()) text += ", ";
    text += kind == Kind::dns_name ? "\"" + printable(value) + "\"" : address_text(value);
  }
  if (count > kMaxNames) text += " and " + std::to_string(count - kMaxNames) + " more";
  if (!text.empty()) return text;
  if (!names.first_common_name) return "nobody";
  return "\"" + printable(*names.first_common_name) +
         (rule == CommonNameRule::never ? "\" only as its CN, which does not count" : "\" (as its CN)");
}

}  // namespace pgveil::tls
