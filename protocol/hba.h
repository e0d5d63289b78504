// pg_hba.conf: which clients may connect, and how they authenticate. The grammar and the matching are those
// of PostgreSQL 18 (src/backend/libpq/hba.c: parse_hba_line, check_hba), with the methods that a proxy
// supports. A method or option that a proxy cannot support is an error.
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

// An address without its port. A mapped address (::ffff:192.0.2.1) is an IPv6 address, which no IPv4 rule
// matches.
struct IpAddress {
  bool is_ipv6 = false;
  std::array<std::uint8_t, 16> bytes{};  // an IPv4 address uses the first four
  bool operator==(const IpAddress&) const = default;
};
[[nodiscard]] std::optional<IpAddress> parse_ip_address(std::string_view text);

// An address of this machine with its netmask, for samehost and samenet.
struct LocalNetwork {
  IpAddress address;
  IpAddress netmask;
};

enum class HbaMethod {
  reject,
  relay,          // pgveil's own: the server authenticates the client
  scram_sha_256,  // pgveil authenticates the client, and logs in to the server
  password,       // the same, with a cleartext password inside TLS
  cert,           // the client's certificate identifies it
  peer,           // the operating system identifies the process at the other end of a Unix socket
  trust,
};
inline constexpr std::size_t kHbaMethods = static_cast<std::size_t>(HbaMethod::trust) + 1;
[[nodiscard]] std::string_view name_of(HbaMethod method);

enum class ClientCertificate { not_required, verify_ca, verify_full };  // clientcert=
// The name in the certificate that is the system user: clientname=. The last four are pgveil's own.
enum class CertificateName { common_name, distinguished_name, uri, dns, email, fingerprint };
[[nodiscard]] std::string_view name_of(CertificateName name);  // "CN", "DN", "URI", ...

// The requirements of a record that has matched.
struct HbaRule {
  std::string file;  // the position of the record
  int line = 0;
  std::string text;  // the record, for messages: text_of()
  HbaMethod method = HbaMethod::reject;
  ClientCertificate clientcert = ClientCertificate::not_required;  // verify_full with method cert
  CertificateName clientname = CertificateName::common_name;
  std::string map;      // of pg_ident.conf; empty: the system user must equal the database user
  bool assign = false;  // assign=1: the mapped database user replaces the requested one
  // The databases of the record, if it has only names; empty: it can match others, too.
  std::vector<std::string> only_databases;

  // Properties for checks at load: the record is of type `local`; of type `hostssl`; it can match only
  // loopback addresses (127.0.0.0/8, ::1); it is of type `hostnossl`; of type `hostgssenc`, which matches no
  // client; its address is 0.0.0.0/0 or ::/0; its address is a network of IPv4, or of IPv6; it can match no loopback
  // address.
  bool is_local = false;
  bool only_tls = false;
  bool only_loopback = false;
  bool only_plaintext = false;
  bool matches_nobody = false;
  bool every_ipv4 = false;
  bool every_ipv6 = false;
  bool only_ipv4 = false;
  bool only_ipv6 = false;
  bool no_loopback = false;
};

// The properties of a client that the rules are compared with.
struct HbaClient {
  bool is_unix = false;
  bool has_tls = false;
  IpAddress address;
  std::string_view user;
  std::string_view database;
  // True for `replication=true` (a physical walsender). `replication=database` is an ordinary database
  // connection.
  bool physical_replication = false;
  // The client's host name: looked up from its address, and confirmed by looking up that name again. nullopt:
  // not looked up yet; empty: the client has none.
  std::optional<std::string> host_name;
};

// The first element of a record that does not match a client.
enum class HbaMismatch {
  none,  // the record matches
  type,  // local, host, hostssl, hostnossl, hostgssenc
  database,
  user,
  address,
  host_name_unknown,  // the client's host name has to be looked up
};

class HbaRules {
 public:
  // Parses the records. Returns all errors at once; a file without any record is an error.
  [[nodiscard]] static tl::expected<HbaRules, AuthFileErrors> parse(const std::vector<AuthLine>& lines);

  struct Verdict {
    const HbaRule* rule = nullptr;  // the first rule that matches; null: none
    bool needs_host_name = false;   // a record with a host name comes first: look the name up, call again
  };
  // Returns the verdict. `networks` are the current networks of this machine.
  [[nodiscard]] Verdict match(const HbaClient& client, const std::vector<LocalNetwork>& networks) const;

  struct Compared {
    const HbaRule* rule = nullptr;
    HbaMismatch mismatch = HbaMismatch::none;
  };
  // Returns what match() compares: each record up to the one that decides.
  [[nodiscard]] std::vector<Compared> compare(const HbaClient& client,
                                              const std::vector<LocalNetwork>& networks) const;

  // Returns whether a client with this kind of connection could be admitted, with any user, database and host
  // name.
  [[nodiscard]] bool may_admit(const HbaClient& client, const std::vector<LocalNetwork>& networks) const;

  [[nodiscard]] bool uses_local_networks() const;  // some record contains samehost or samenet
  [[nodiscard]] std::vector<const HbaRule*> rules() const;

  HbaRules(HbaRules&&) noexcept;
  HbaRules& operator=(HbaRules&&) noexcept;
  ~HbaRules();

 private:
  struct Record;  // a rule and its conditions
  explicit HbaRules(std::vector<Record> records);
  [[nodiscard]] static HbaMismatch mismatch_of(const Record& record, const HbaClient& client,
                                               const std::vector<LocalNetwork>& networks);
  std::vector<Record> records_;
};

}  // namespace pgveil::protocol
