#include "proxy/doctor/name_review.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "proxy/config/values.h"

namespace pgveil::proxy {
namespace {

using Kind = tls::CertificateNames::Kind;

bool has_kind(const tls::CertificateNames& names, Kind kind) {
  return std::ranges::any_of(names.alternative_names, [&](const auto& name) { return name.kind == kind; });
}

// Returns an address as text; empty: it has neither 4 nor 16 bytes.
std::string address_text(const std::string& bytes) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = bytes.size() == 4 ? AF_INET : AF_INET6;
  if (bytes.size() != 4 && bytes.size() != 16) return "";
  return ::inet_ntop(family, bytes.data(), text.data(), text.size()) == nullptr ? "" : text.data();
}

// Returns the names that a client could ask for: no wildcards.
std::vector<std::string> askable(const tls::CertificateNames& names) {
  std::vector<std::string> found;
  for (const auto& name : names.alternative_names) {
    std::string text = name.kind == Kind::ip_address ? address_text(name.value) : name.value;
    if (!text.empty() && text.find('*') == std::string::npos) found.push_back(std::move(text));
  }
  if (found.empty() && names.alternative_names.empty() && names.first_common_name)
    found.push_back(*names.first_common_name);
  return found;
}

}  // namespace

NameReview review_names(std::string_view host, const tls::CertificateNames& names, tls::CommonNameRule rule) {
  NameReview review{.matches = tls::match_host(host, names, rule) == tls::HostMatch::match,
                    .host_is_address = tls::is_ip_address(host),
                    .nearest = {}};
  review.uses_common_name = rule == tls::CommonNameRule::fallback && names.first_common_name &&
                            !has_kind(names, review.host_is_address ? Kind::ip_address : Kind::dns_name);
  if (review.matches) return review;
  const std::vector<std::string> possible = askable(names);
  const auto near = values::nearest(host, {possible.begin(), possible.end()});
  if (!near.empty())
    review.nearest = near;
  else if (!possible.empty())
    review.nearest = possible.front();
  return review;
}

std::string summary_of(const NameReview& review, std::string_view host, const tls::CertificateNames& names,
                       tls::CommonNameRule rule) {
  if (review.matches)
    return fmt::format("\"{}\" is {} the certificate", host,
                       review.uses_common_name ? "the common name (CN) of" : "a name in");
  std::string text =
      fmt::format("\"{}\" is not a name in the certificate, which has {}", host, tls::describe(names, rule));
  if (review.host_is_address && !has_kind(names, Kind::ip_address))
    text += "; the host is an IP address, and the certificate has no IP address";
  return text;
}

}  // namespace pgveil::proxy
