// libpq's verify-full name rules on plain values: exactly, but for hosts that libpq lets pass by mistake:
// "a..example.com" for "*.example.com", and an address for a dNSName, such as 192.0.2.1 for "*.0.2.1".
// Source: PostgreSQL 18,
// src/interfaces/libpq/fe-secure-common.c (pq_verify_peer_name_matches_certificate_name) and
// fe-secure-openssl.c (pgtls_verify_peer_name_matches_certificate_guts). X509_check_host() differs in a dozen
// cases: several CNs, partial wildcards, a leading dot, an IP address that stands as text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgveil::tls {

// What a certificate says of the hosts that it is for, in its own order and octet for octet (NULs included).
struct CertificateNames {
  enum class Kind { dns_name, ip_address };
  struct AlternativeName {
    Kind kind;
    std::string
        value;  // an ip_address: 4 or 16 octets in network order, or whatever length the certificate has
  };
  std::vector<AlternativeName> alternative_names;  // other kinds are left out
  std::optional<std::string> first_common_name;
};

enum class HostMatch {
  match,
  mismatch,
  malformed,  // a name with an embedded NUL, or an iPAddress that is neither 4 nor 16 octets: libpq's hard
              // error
};
// Whether the common name (CN) of the subject counts.
enum class CommonNameRule {
  fallback,  // if there is no alternative name of the host's kind (dNSName or iPAddress), as in libpq
  never,     // as in RFC 9525
};
[[nodiscard]] HostMatch match_host(std::string_view host, const CertificateNames& names,
                                   CommonNameRule rule = CommonNameRule::fallback);

// Whether libpq takes `host` for an address: inet_aton() or inet_pton(AF_INET6) accepts it.
[[nodiscard]] bool is_ip_address(std::string_view host);
// Whether libpq sends `host` as SNI: not for an empty one, one of digits and dots alone, or one with a colon.
[[nodiscard]] bool is_sent_as_sni(std::string_view host);

// What a peer said of itself, for a person: quotes, backslashes and all but printable ASCII stand as `\x0a`.
[[nodiscard]] std::string printable(std::string_view name);

// The names for a person: `"db01.example.com", "*.example.com", 192.0.2.1`, or the CN where it decides.
// Control bytes are escaped.
[[nodiscard]] std::string describe(const CertificateNames& names,
                                   CommonNameRule rule = CommonNameRule::fallback);

}  // namespace pgveil::tls
