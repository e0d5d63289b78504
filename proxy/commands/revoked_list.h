// The list of the certificates that a development authority has revoked: the source of its CRLs. The file is text, a line for
// each certificate, and is never edited by hand.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace pgveil::proxy {

struct RevokedCertificate {
  std::string serial;     // lower-case hexadecimal
  std::int64_t time = 0;  // of the revocation, in seconds since 1970
  std::string subject;    // in the format of RFC 2253, for a person to read
};

struct RevokedList {
  std::int64_t crl_number = 0;  // of the last CRL; 0: none was made
  std::vector<RevokedCertificate> certificates;

  [[nodiscard]] const RevokedCertificate* find(std::string_view serial) const;
};

// Returns whether `text` is a serial as the lists have it, which is not negative.
[[nodiscard]] bool is_serial(std::string_view text);

[[nodiscard]] std::string text_of(const RevokedList& list);
// The error is the number of the line that cannot be read. A list is read whole or not at all: a certificate that is left out
// would be accepted again.
[[nodiscard]] tl::expected<RevokedList, int> parse_revoked_list(std::string_view text);

}  // namespace pgveil::proxy
