// The settings of TLS contexts of both sides, as plain values.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tls/host_name.h"
#include "tls/records_choice.h"

namespace pgveil::tls {

enum class Version { tls1, tls1_1, tls1_2, tls1_3 };
// Parses the names of libpq and PostgreSQL: "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3". Like both of them it
// ignores case.
[[nodiscard]] std::optional<Version> version_from_name(std::string_view name);
[[nodiscard]] std::string_view name_of(Version version);

inline constexpr std::string_view kAlpnProtocol = "postgresql";  // PG_ALPN_PROTOCOL, pqcomm.h

inline constexpr std::string_view kSystemTrust = "system";  // sslrootcert=system: OpenSSL's default store

// A context warns if a certificate of ours expires within this time.
inline constexpr std::chrono::hours kExpiryNotice = std::chrono::hours(24 * 14);

// The default ciphers of both sides for TLS 1.2: only those with forward secrecy and AEAD.
inline constexpr std::string_view kDefaultCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20";

// Key exchange that a quantum computer cannot break: hybrids of ML-KEM and an elliptic curve.
enum class PostQuantum {
  prefer,   // used if both sides support one
  require,  // required, and with it TLS 1.3
};

// What a context of either side may negotiate, under PostgreSQL's names. Empty: not set.
struct HandshakeSettings {
  Version ssl_min_protocol_version = Version::tls1_2;
  std::optional<Version> ssl_max_protocol_version;
  std::string ssl_ciphers = std::string(kDefaultCiphers);  // TLS 1.2 and older
  std::string ssl_tls13_ciphers;                           // empty: OpenSSL's default
  std::string ssl_groups;                // empty: OpenSSL's default, with ML-KEM if supported
  std::string ssl_signature_algorithms;  // empty: OpenSSL's default
  PostQuantum post_quantum = PostQuantum::prefer;
  Records records = Records::openssl;  // what handles records after the handshake
  bool keep_peer_chain = false;        // in Established, so that a later context can verify it
};

// libpq's settings, under libpq's names. Empty: not set.
struct ClientSettings : HandshakeSettings {
  std::string sslrootcert;  // required: a PEM file, or kSystemTrust
  std::string sslcert;      // PEM chain; needs sslkey
  std::string sslkey;       // PEM or DER
  std::string sslpassword;  // password of an encrypted key; a secret
  std::string sslcrl;
  std::string sslcrldir;  // files named by hash, as `openssl rehash` does
  CommonNameRule certificate_common_name = CommonNameRule::fallback;
};

// A certificate of a listener.
struct ServerCertificate {
  // The SNI names that select this certificate: exact, or `*.example.com` for one label. Empty: the default,
  // for clients that send no name, or a name that selects no other certificate.
  std::vector<std::string> server_names;
  std::string ssl_cert_file;  // required: PEM, the leaf before its chain
  std::string ssl_key_file;   // required
};

// PostgreSQL's settings of the server side, under its names. Empty: not set.
struct ServerSettings : HandshakeSettings {
  // At least one; at most one of them is a default. Without a default, a client whose name selects no
  // certificate is refused (alert unrecognized_name).
  std::vector<ServerCertificate> certificates;
  std::string ssl_passphrase_command;  // the shell runs it for an encrypted key; `%p` is the prompt
  std::string ssl_ca_file;             // clients are asked for a certificate; one that is sent must verify
  std::string ssl_crl_file;            // for client certificates; requires ssl_ca_file, as does ssl_crl_dir
  std::string ssl_crl_dir;
  bool ssl_prefer_server_ciphers = true;
};

}  // namespace pgveil::tls
