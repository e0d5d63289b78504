// The records of a server's pg_hba.conf, as pg_hba_file_rules shows them: which admit a login without TLS, without a password, or
// with the password itself.
#pragma once

#include <string>
#include <vector>

#include "protocol/query_result.h"
#include "proxy/doctor/hba_rule.h"
#include "proxy/doctor/report.h"

namespace pgveil::proxy {

// The query for a server of this major version; 0: not known.
[[nodiscard]] std::string hba_query(int major_version);
// Returns the record in a row of the answer.
[[nodiscard]] HbaRule hba_rule(const protocol::Row& row);

// `rules` are in the order of the file. Returns a step for each record that is a fault or remarkable, ten at most; otherwise one
// that has passed.
[[nodiscard]] std::vector<Step> review_hba(const std::vector<HbaRule>& rules);

}  // namespace pgveil::proxy
