// The snapshot of a configuration that a test has as text.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>

#include "proxy/snapshot/snapshot.h"

namespace pgveil::test {

// Returns the snapshot of `toml`. Throws the first error, and so fails the test, if there is one.
inline std::shared_ptr<const proxy::Snapshot> snapshot_of(const std::string& toml) {
  const auto parsed = proxy::parse_config(toml, "pgveil.toml");
  if (!parsed) throw std::runtime_error(parsed.error().front().text());
  auto built = proxy::build_snapshot(*parsed);
  if (!built) throw std::runtime_error(built.error().errors().front().text());
  return *std::move(built);
}

}  // namespace pgveil::test
