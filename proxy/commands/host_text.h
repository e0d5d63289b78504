// A server of an upstream as text, for people.
#pragma once

#include <string>

#include "proxy/config/config.h"

namespace pgveil::proxy {

// Returns for example "db.example.com:5432", "db.example.com:5432 (10.0.3.12)" or "unix:/run/postgresql/.s.PGSQL.5432".
[[nodiscard]] std::string text_of(const UpstreamHost& host);

}  // namespace pgveil::proxy
