// Which records of a pg_hba.conf have no effect on logins without TLS, because earlier ones refuse all of them.
#pragma once

#include <span>

#include "proxy/doctor/hba_review.h"

namespace pgveil::proxy {

// Returns whether earlier records refuse everybody whom `rule` would admit without TLS. They count together: each database, each
// user and each address family of `rule` may be refused by another record. Returns false if that is not certain, as with a host
// name.
[[nodiscard]] bool is_refused_by(std::span<const HbaRule> earlier, const HbaRule& rule);

}  // namespace pgveil::proxy
