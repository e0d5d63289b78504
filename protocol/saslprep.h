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
// libidn normalizes as Unicode 3.2, which SASLprep names, and PostgreSQL as today's Unicode. For the
// characters of Unicode 3.2, which are all that SASLprep takes, these differ by Corrigenda 4 and 5, which are
// applied here.
[[nodiscard]] SecretText saslprep(std::string_view password);

}  // namespace pgveil::protocol
