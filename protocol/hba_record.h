// One parsed record of pg_hba.conf: a rule, and its conditions. HbaRules compares a client with them in
// order. Source: PostgreSQL 18, src/backend/libpq/hba.c (parse_hba_line, parse_hba_auth_opt).
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "protocol/auth_file.h"
#include "protocol/hba.h"
#include "protocol/name_pattern.h"

namespace pgveil::protocol {

enum class RecordType { local, host, hostssl, hostnossl, hostgssenc, hostnogssenc };

// One item in a list of databases or users.
struct NameRule {
  enum class Kind { all, same_user, replication, pattern, name };
  Kind kind = Kind::name;
  std::string name;                    // for Kind::name
  std::optional<NamePattern> pattern;  // for Kind::pattern
};

struct AnyAddress {};
struct SameHost {};
struct SameNet {};
struct Network {
  IpAddress address;
  IpAddress netmask;  // of the same family; its bits need not be contiguous, as in PostgreSQL
};
struct HostName {
  std::string name;  // a leading dot means all names with this ending
};
using AddressRule = std::variant<AnyAddress, SameHost, SameNet, Network, HostName>;

struct HbaRecord {
  RecordType type = RecordType::local;
  std::vector<NameRule> databases;
  std::vector<NameRule> users;
  AddressRule address;  // in a `local` record: any
  HbaRule rule;
};

// Reads the record in `line`. Adds all its errors to `errors`; the result must not be used then.
[[nodiscard]] HbaRecord read_hba_record(const AuthLine& line, AuthFileErrors& errors);

[[nodiscard]] bool is_in(const IpAddress& address, const Network& network);

}  // namespace pgveil::protocol
