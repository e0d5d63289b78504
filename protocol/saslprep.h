// SASLprep (RFC 4013) of a password, as PostgreSQL does it before it hashes for SCRAM (src/common/saslprep.c:
// pg_saslprep).
#pragma once

#include <string_view>

#include "protocol/secret.h"

namespace pgveil::protocol {

// What SCRAM hashes in place of `password`. ASCII is what it was, and so is everything that SASLprep refuses:
// what is no UTF-8, holds prohibited or unassigned characters, mixes directions or comes to nothing.
//
// Takes longer than its length on text that is made for it (a run of combining marks is sorted in squares),
// so its place is where PBKDF2 is computed.
//
// Differs from PostgreSQL where Unicode 3.2's normalization, which SASLprep names and libidn has, differs
// from today's: for U+2F868, U+2F874, U+2F91F, U+2F95F and U+2F9BF (Corrigendum 4), and for sequences that no
// language writes (Corrigendum 5).
[[nodiscard]] SecretText saslprep(std::string_view password);

}  // namespace pgveil::protocol
