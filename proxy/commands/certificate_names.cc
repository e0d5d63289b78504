#include "proxy/commands/certificate_names.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "tls/certificate_authority.h"
#include "tls/host_name.h"

namespace pgveil::proxy {
namespace {

tl::unexpected<ConfigError> invalid(std::string_view what, const std::string& text, const std::string& why,
                                    std::string hint) {
  return tl::unexpected(
      value_error(fmt::format("invalid {} \"{}\": {}", what, tls::printable(text), why), std::move(hint)));
}

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

bool has_control_byte(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return std::iscntrl(static_cast<unsigned char>(c)) != 0; });
}

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// Returns the parts between the separators; an empty text has one part.
std::vector<std::string_view> parts_of(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// An underscore is not allowed in host names, but in use: names of services of Docker Compose have it.
bool is_label(std::string_view label) {
  constexpr std::size_t kMaxLabel = 63;
  if (label.empty() || label.size() > kMaxLabel || label.front() == '-' || label.back() == '-') return false;
  return std::ranges::all_of(label, [](char c) { return is_letter_or_digit(c) || c == '-' || c == '_'; });
}

bool is_host_name(std::string_view text) {
  constexpr std::size_t kMaxName = 253;
  return text.size() <= kMaxName && std::ranges::all_of(parts_of(text, '.'), is_label) &&
         tls::is_sent_as_sni(text);
}

std::string lower_case(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// Returns the number of characters; nullopt: the text is not UTF-8 (RFC 3629).
std::optional<std::size_t> utf8_length(std::string_view text) {
  std::size_t length = 0;
  while (!text.empty()) {
    const auto first = static_cast<unsigned char>(text.front());
    const std::size_t size = first < 0x80   ? 1
                             : first < 0xc2 ? 0
                             : first < 0xe0 ? 2
                             : first < 0xf0 ? 3
                             : first < 0xf5 ? 4
                                            : 0;
    if (size == 0 || size > text.size()) return std::nullopt;
    for (const char c : text.substr(1, size - 1))
      if ((static_cast<unsigned char>(c) & 0xc0U) != 0x80) return std::nullopt;
    const auto second = size > 1 ? static_cast<unsigned char>(text[1]) : 0U;
    const bool is_overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
    const bool is_no_character = (first == 0xed && second > 0x9f) || (first == 0xf4 && second > 0x8f);
    if (is_overlong || is_no_character) return std::nullopt;
    text.remove_prefix(size);
    ++length;
  }
  return length;
}

ReadName read_common_name(std::string_view what, const std::string& text) {
  if (text.empty()) return invalid(what, text, "it is empty", "Write a name.");
  if (has_control_byte(text))
    return invalid(what, text, "it contains a control character", "No rule accepts such a name.");
  const auto length = utf8_length(text);
  if (!length) return invalid(what, text, "it is not UTF-8", "Write it in UTF-8.");
  if (*length > tls::kMaxCommonNameLength)
    return invalid(
        what, text, fmt::format("it has {} characters", *length),
        fmt::format("The common name of a certificate has {} at most.", tls::kMaxCommonNameLength));
  return text;
}

bool is_segment(std::string_view segment) {
  if (segment.empty() || segment == "." || segment == "..") return false;
  return std::ranges::all_of(
      segment, [](char c) { return is_letter_or_digit(c) || c == '.' || c == '-' || c == '_'; });
}

bool is_trust_domain(std::string_view domain) {
  constexpr std::size_t kMaxDomain = 255;
  return !domain.empty() && domain.size() <= kMaxDomain && std::ranges::all_of(domain, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
  });
}

}  // namespace

ReadName read_certificate_host(const std::string& text) {
  constexpr std::string_view kWhat = "host name";
  if (tls::is_ip_address(text)) return invalid(kWhat, text, "it is an address", "Use --ip " + text + '.');
  if (!is_ascii(text))
    return invalid(
        kWhat, text, "it is not ASCII",
        "Write the ASCII form that clients look up, such as xn--bcher-kva.example; \"idn2 NAME\" prints it.");
  if (text.size() > 1 && text.ends_with('.'))
    return invalid(kWhat, text, "it ends with a dot", "Leave out the dot: clients compare without it.");
  const bool is_wildcard = text.starts_with("*.");
  const std::string_view name = std::string_view(text).substr(is_wildcard ? 2 : 0);
  if (name.find('*') != std::string_view::npos)
    return invalid(kWhat, text, "a wildcard in the wrong place",
                   "\"*\" can only be the whole first label: *.example.com.");
  if (is_host_name(name)) return lower_case(text);
  return invalid(kWhat, text, "it is not a host name",
                 "Write one name, such as db01.example.com; --host may be given several times.");
}

ReadName read_certificate_address(const std::string& text) {
  std::array<char, sizeof(in6_addr)> bytes{};
  if (::inet_pton(AF_INET, text.c_str(), bytes.data()) == 1)
    return std::string(bytes.data(), sizeof(in_addr));
  if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return std::string(bytes.data(), bytes.size());
  return invalid("address", text, "it is neither IPv4 nor IPv6",
                 "Write one address without port, brackets and zone, such as 192.0.2.1 or 2001:db8::1.");
}

ReadName read_spiffe_id(const std::string& text) {
  constexpr std::string_view kWhat = "SPIFFE ID";
  constexpr std::string_view kScheme = "spiffe://";
  constexpr std::size_t kMaxBytes = 2048;
  const std::string hint = "A SPIFFE ID is such as spiffe://prod.example.com/ns/ledger/sa/billing.";
  if (!text.starts_with(kScheme)) return invalid(kWhat, text, "it does not begin with spiffe://", hint);
  if (text.size() > kMaxBytes) return invalid(kWhat, text, "it is longer than 2048 bytes", hint);
  auto parts = parts_of(std::string_view(text).substr(kScheme.size()), '/');
  if (!is_trust_domain(parts.front()))
    return invalid(kWhat, text,
                   "the trust domain must consist of lower-case letters, digits, \".\", \"-\" and \"_\"",
                   hint);
  parts.erase(parts.begin());
  if (parts.empty() || !std::ranges::all_of(parts, is_segment))
    return invalid(
        kWhat, text,
        "the path must have parts of letters, digits, \".\", \"-\" and \"_\", with \"/\" between them", hint);
  return text;
}

ReadName read_email(const std::string& text) {
  const auto at = text.find('@');
  const std::string_view local = std::string_view(text).substr(0, at);
  const bool is_local = !local.empty() && is_ascii(local) && std::ranges::all_of(local, [](char c) {
    return std::isgraph(static_cast<unsigned char>(c)) != 0 &&
           std::string_view("()<>[]:;,\\\"").find(c) == std::string_view::npos;
  });
  if (at != std::string::npos && is_local && is_host_name(text.substr(at + 1))) return text;
  return invalid("e-mail address", text, "it is not of the form NAME@HOST",
                 "Write one address, such as billing@example.com; --email may be given several times.");
}

ReadName read_database_user(const std::string& text) {
  // NAMEDATALEN of PostgreSQL, without the zero at the end.
  constexpr std::size_t kMaxBytes = 63;
  auto name = read_common_name("database user", text);
  if (name && text.size() > kMaxBytes)
    return invalid("database user", text, fmt::format("it has {} bytes", text.size()),
                   fmt::format("PostgreSQL cuts the name of a user to {} bytes.", kMaxBytes));
  return name;
}

ReadName read_authority_name(const std::string& text) {
  return read_common_name("name", text);
}

}  // namespace pgveil::proxy
