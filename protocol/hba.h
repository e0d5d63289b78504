// pg_hba.conf: who may come in how. The grammar and the matching of PostgreSQL 18 (src/backend/libpq/hba.c:
// parse_hba_line, check_hba), with the methods that a proxy has. What a proxy cannot know is an error.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "protocol/auth_file.h"

namespace pgveil::protocol {

// An address without its port. A mapped one (::ffff:192.0.2.1) stays an IPv6 address, which no IPv4 rule
// matches.
struct IpAddress {
  bool is_ipv6 = false;
  std::array<std::uint8_t, 16> octets{};  // the first four of an IPv4 address
  bool operator==(const IpAddress&) const = default;
};
[[nodiscard]] std::optional<IpAddress> parse_ip_address(std::string_view text);

// One address of this machine with its netmask, for samehost and samenet.
struct LocalNetwork {
  IpAddress address;
  IpAddress netmask;
};

enum class HbaMethod {
  reject,
  relay,          // the server asks the client: pgveil's own word
  scram_sha_256,  // pgveil asks the client, and logs in to the server itself
  password,       // likewise, in cleartext inside TLS
  cert,           // the certificate says who it is
  peer,           // the operating system says who is at the other end of a Unix socket
  trust,
};
[[nodiscard]] std::string_view name_of(HbaMethod method);

enum class ClientCertificate { not_required, verify_ca, verify_full };  // clientcert=
// Which name of the certificate is the system user: clientname=. The last four are ours.
enum class CertificateName { common_name, distinguished_name, uri, dns, email, fingerprint };
[[nodiscard]] std::string_view name_of(CertificateName name);  // "CN", "DN", "URI", ...

// What a rule asks, once it has matched.
struct HbaRule {
  std::string file;  // where it stands
  int line = 0;
  HbaMethod method = HbaMethod::reject;
  ClientCertificate clientcert = ClientCertificate::not_required;  // verify_full with method cert
  CertificateName clientname = CertificateName::common_name;
  std::string map;      // of pg_ident.conf; empty: the system user must be the database user
  bool assign = false;  // assign=1: the mapped database user replaces the one that was asked for

  // For checks at load: whether the record is of type `local`; `hostssl`; whether every address that it can
  // match is loopback (127.0.0.0/8, ::1); `hostnossl`; `hostgssenc`, which matches nobody; whether the
  // address is 0.0.0.0/0 or ::/0.
  bool is_local = false;
  bool only_tls = false;
  bool only_loopback = false;
  bool only_plaintext = false;
  bool matches_nobody = false;
  bool every_ipv4 = false;
  bool every_ipv6 = false;
};

// What is known of a client when the rules are asked.
struct HbaClient {
  bool is_unix = false;
  bool has_tls = false;
  IpAddress address;
  std::string_view user;
  std::string_view database;
  // `replication=true` (a physical walsender); `replication=database` is an ordinary database connection.
  bool physical_replication = false;
  // The client's host name: looked up from its address and confirmed by looking that name up again. nullopt:
  // not asked yet; empty: it has none.
  std::optional<std::string> host_name;
};

class HbaRules {
 public:
  // All errors at once; a file without any record is one.
  [[nodiscard]] static tl::expected<HbaRules, AuthFileErrors> parse(const std::vector<AuthLine>& lines);

  struct Verdict {
    const HbaRule* rule = nullptr;  // the first that matches; null: none does
    bool needs_host_name = false;   // a record by host name came first: look it up, and ask again
  };
  // `networks` are those of this machine now.
  [[nodiscard]] Verdict match(const HbaClient& client, const std::vector<LocalNetwork>& networks) const;

  // Whether a client that connects like this could come in at all, whoever it says it is: its user, database
  // and host name do not count.
  [[nodiscard]] bool may_admit(const HbaClient& client, const std::vector<LocalNetwork>& networks) const;

  [[nodiscard]] bool uses_local_networks() const;  // samehost or samenet stands in some record
  [[nodiscard]] std::vector<const HbaRule*> rules() const;

  HbaRules(HbaRules&&) noexcept;
  HbaRules& operator=(HbaRules&&) noexcept;
  ~HbaRules();

 private:
  struct Record;  // a rule and what it matches
  explicit HbaRules(std::vector<Record> records);
  std::vector<Record> records_;
};

}  // namespace pgveil::protocol
