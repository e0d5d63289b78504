// The names that `pgveil certs` puts into certificates: checked, and in the form in which a certificate has them. An error is
// without a location.
#pragma once

#include <string>
#include <tl/expected.hpp>

#include "proxy/config/config_error.h"

namespace pgveil::proxy {

using ReadName = tl::expected<std::string, ConfigError>;

// A host name in lower case, or `*.` and a host name. Not an address, and not a name outside of ASCII.
[[nodiscard]] ReadName read_certificate_host(const std::string& text);
// The 4 or 16 bytes of an IPv4 or IPv6 address.
[[nodiscard]] ReadName read_certificate_address(const std::string& text);
// A SPIFFE ID of a workload (https://github.com/spiffe/spiffe: SPIFFE-ID, section 2).
[[nodiscard]] ReadName read_spiffe_id(const std::string& text);
// An e-mail address of ASCII: local part, `@`, host name.
[[nodiscard]] ReadName read_email(const std::string& text);
// A database user for the common name of a client.
[[nodiscard]] ReadName read_database_user(const std::string& text);
// The common name of an authority.
[[nodiscard]] ReadName read_authority_name(const std::string& text);

}  // namespace pgveil::proxy
