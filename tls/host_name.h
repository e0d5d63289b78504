// libpq's verify-full rules for names, on plain values. There are two differences, for hosts that libpq
// accepts by mistake: "a..example.com" does not match "*.example.com", and an address does not match a
// dNSName (192.0.2.1 does not match "*.0.2.1"). Source: PostgreSQL 18,
// src/interfaces/libpq/fe-secure-common.c (pq_verify_peer_name_matches_certificate_name) and
// fe-secure-openssl.c (pgtls_verify_peer_name_matches_certificate_guts). X509_check_host() differs in a dozen
// cases: several CNs, partial wildcards, a leading dot, an IP address written as text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgveil::tls {

// The host names and addresses in a certificate, in their order and byte for byte (NULs included).
struct CertificateNames {
  enum class Kind { dns_name, ip_address };
  struct AlternativeName {
    Kind kind;
    std::string
        value;  // an ip_address: 4 or 16 bytes in network order, or any other length that the certificate has
  };
  std::vector<AlternativeName> alternative_names;  // other kinds are omitted
  std::optional<std::string> first_common_name;
};

enum class HostMatch {
  match,
  mismatch,
  malformed,  // a name with an embedded NUL, or an iPAddress of neither 4 nor 16 bytes: libpq fails
              // with an error
};
// Whether the common name (CN) of the subject is compared.
enum class CommonNameRule {
  fallback,  // if there is no alternative name of the host's kind (dNSName or iPAddress), as in libpq
  never,     // as in RFC 9525
};
[[nodiscard]] HostMatch match_host(std::string_view host, const CertificateNames& names,
                                   CommonNameRule rule = CommonNameRule::fallback);

// Returns whether libpq treats `host` as an address: inet_aton() or inet_pton(AF_INET6) accepts it.
[[nodiscard]] bool is_ip_address(std::string_view host);
// Returns whether libpq sends `host` as SNI. It does not for an empty host, for digits and dots only, and for
// a host with a colon.
[[nodiscard]] bool is_sent_as_sni(std::string_view host);

// Returns a name from a peer for a person to read: quotes, backslashes and all bytes but printable ASCII
// become `\x0a`.
[[nodiscard]] std::string printable(std::string_view name);

// Returns the names for a person to read: `"db01.example.com", "*.example.com", 192.0.2.1`, or the CN if
// there are no other names. Control bytes are escaped.
[[nodiscard]] std::string describe(const CertificateNames& names,
                                   CommonNameRule rule = CommonNameRule::fallback);

}  // namespace pgveil::tls
