// The list of the certificates that a development authority has issued: revoking one of them revokes all that have its key. The
// file is text, a line for each certificate, and is never edited by hand.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace pgveil::proxy {

struct IssuedCertificate {
  std::string serial;   // lower-case hexadecimal
  std::string key_id;   // as in tls::StoredCertificate
  std::string subject;  // in the format of RFC 2253, for a person to read
};

struct IssuedList {
  std::vector<IssuedCertificate> certificates;

  [[nodiscard]] const IssuedCertificate* find(std::string_view serial) const;
  [[nodiscard]] std::vector<IssuedCertificate> with_key(std::string_view key_id) const;
  // Does nothing if the serial is in the list.
  void add(IssuedCertificate certificate);
};

[[nodiscard]] std::string text_of(const IssuedList& list);
// The error is the number of the line that cannot be read.
[[nodiscard]] tl::expected<IssuedList, int> parse_issued_list(std::string_view text);

}  // namespace pgveil::proxy
