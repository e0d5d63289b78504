// libpq's connection strings: a URI ("postgresql://db01:5433/ledger?sslmode=require") or keywords and values ("host=db01
// port=5433"). Source: PostgreSQL 18, src/interfaces/libpq/fe-connect.c (conninfo_parse, conninfo_uri_parse_options).
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "proxy/config/config_error.h"

namespace pgveil::proxy {

// Parameters in the order in which they are given. Of a URI, "host" and "port" have a comma list if it has several hosts. A
// password is among them; the caller must wipe it.
using ConnectionParameters = std::vector<std::pair<std::string, std::string>>;

// Whether a word is one of both forms, and not a host.
[[nodiscard]] bool is_connection_string(std::string_view text);

// Returns the parameters, whatever their names are. The error shows no part of the text.
[[nodiscard]] tl::expected<ConnectionParameters, ConfigError> parse_connection_string(std::string_view text);

}  // namespace pgveil::proxy
