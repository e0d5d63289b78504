// SASLprep (RFC 4013) of a password, as PostgreSQL does it before SCRAM's hash (src/common/saslprep.c:
// pg_saslprep).
#pragma once

#include <string_view>

#include "protocol/secret.h"

namespace pgveil::protocol {

// Returns the text that SCRAM hashes in place of `password`. ASCII is unchanged. Text that SASLprep refuses
// is also unchanged: text that is not UTF-8, has prohibited or unassigned characters, mixes directions or
// becomes empty.
//
// The time can be quadratic in the length (a long run of combining marks is sorted), so it must be called
// where PBKDF2 is computed.
//
// libidn normalizes by Unicode 3.2, which SASLprep requires, and PostgreSQL by the current Unicode. SASLprep
// accepts only the characters of Unicode 3.2. For these the results differ by Corrigenda 4 and 5, which are
// applied here.
[[nodiscard]] SecretText saslprep(std::string_view password);

}  // namespace pgveil::protocol
