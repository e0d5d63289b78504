// One record of pg_hba.conf, taken apart: a rule, and what it matches. HbaRules asks them in turn. Source:
// PostgreSQL 18, src/backend/libpq/hba.c (parse_hba_line, parse_hba_auth_opt).
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

// One word of a list of databases or users.
struct NameRule {
  enum class Kind { all, same_user, replication, pattern, name };
  Kind kind = Kind::name;
  std::string name;                    // of Kind::name
  std::optional<NamePattern> pattern;  // of Kind::pattern
};

struct AnyAddress {};
struct SameHost {};
struct SameNet {};
struct Network {
  IpAddress address;
  IpAddress netmask;  // of the same family; its bits may stand anywhere, as in PostgreSQL
};
struct HostName {
  std::string name;  // one that begins with a dot means all names that end with it
};
using AddressRule = std::variant<AnyAddress, SameHost, SameNet, Network, HostName>;

struct HbaRecord {
  RecordType type = RecordType::local;
  std::vector<NameRule> databases;
  std::vector<NameRule> users;
  AddressRule address;  // of a `local` record: any
  HbaRule rule;
};

// Reads the record that stands in `line`. All its errors are added to `errors`; what is returned then is
// of no use.
[[nodiscard]] HbaRecord read_hba_record(const AuthLine& line, AuthFileErrors& errors);

[[nodiscard]] bool is_in(const IpAddress& address, const Network& network);

}  // namespace pgveil::protocol
