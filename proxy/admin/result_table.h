// Tables for people who connect to the admin database, made from what the pages of the admin address show, and from the
// configuration.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "protocol/query_result.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {

struct ResultTable {
  std::vector<protocol::Column> columns;
  std::vector<protocol::Row> rows;
};

// `page`: of /sessions.
[[nodiscard]] ResultTable sessions_table(const nlohmann::ordered_json& page);
// `page`: of /status. One row for each upstream, certificate or listener.
[[nodiscard]] ResultTable upstreams_table(const nlohmann::ordered_json& page);
[[nodiscard]] ResultTable certificates_table(const nlohmann::ordered_json& page);
[[nodiscard]] ResultTable stats_table(const nlohmann::ordered_json& page);
[[nodiscard]] ResultTable version_table(const nlohmann::ordered_json& page);
// One row for each setting of each section, without secrets.
[[nodiscard]] ResultTable config_table(const Snapshot& snapshot);

}  // namespace pgveil::proxy
