// The names in a certificate against the host that was asked, by libpq's rules.
#pragma once

#include <string>
#include <string_view>

#include "tls/host_name.h"

namespace pgveil::proxy {

struct NameReview {
  bool matches = false;
  bool host_is_address = false;   // the host is an IP address
  bool uses_common_name = false;  // no alternative name of the host's kind: the CN is compared
  std::string
      nearest;  // a host name or an address of the certificate that could be asked instead; may be empty
};
[[nodiscard]] NameReview review_names(std::string_view host, const tls::CertificateNames& names,
                                      tls::CommonNameRule rule);

// Returns one line: the host, the names, and how they differ.
[[nodiscard]] std::string summary_of(const NameReview& review, std::string_view host,
                                     const tls::CertificateNames& names, tls::CommonNameRule rule);

}  // namespace pgveil::proxy
