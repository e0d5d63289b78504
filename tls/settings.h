// What TLS contexts are built from: the settings of both ends, as plain values.
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
// libpq's and PostgreSQL's words: "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3". Compared without case, as both
// do.
[[nodiscard]] std::optional<Version> version_from_name(std::string_view name);
[[nodiscard]] std::string_view name_of(Version version);

inline constexpr std::string_view kSystemTrust = "system";  // sslrootcert=system: OpenSSL's default store

// How long before the end of a certificate of ours a context begins to warn.
inline constexpr std::chrono::hours kExpiryNotice = std::chrono::hours(24 * 14);

// What both ends offer in TLS 1.2 unless settings say otherwise: forward secrecy and AEAD, nothing else.
inline constexpr std::string_view kDefaultCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20";

// Key exchange that a quantum computer does not break: hybrids of ML-KEM and an elliptic curve.
enum class PostQuantum {
  prefer,   // if both ends have one
  require,  // and TLS 1.3 with it
};

// What a context of either end may agree on, under PostgreSQL's names. Empty: not set.
struct HandshakeSettings {
  Version ssl_min_protocol_version = Version::tls1_2;
  std::optional<Version> ssl_max_protocol_version;
  std::string ssl_ciphers = std::string(kDefaultCiphers);  // TLS 1.2 and older
  std::string ssl_tls13_ciphers;                           // empty: OpenSSL's own
  std::string ssl_groups;                                  // empty: OpenSSL's own, post-quantum if it can
  std::string ssl_signature_algorithms;                    // empty: OpenSSL's own
  PostQuantum post_quantum = PostQuantum::prefer;
  Records records = Records::openssl;  // after the handshake
};

// libpq's settings, under libpq's names. Empty: not set.
struct ClientSettings : HandshakeSettings {
  std::string sslrootcert;  // required: a PEM file, or kSystemTrust
  std::string sslcert;      // PEM chain; needs sslkey
  std::string sslkey;       // PEM or DER
  std::string sslpassword;  // of an encrypted key; a secret
  std::string sslcrl;
  std::string sslcrldir;  // named by hash, as `openssl rehash` does
  CommonNameRule certificate_common_name = CommonNameRule::fallback;
};

// One certificate of a listener.
struct ServerCertificate {
  // The names in SNI that it is for: exact, or `*.example.com` for one label. Empty: the default, for clients
  // that send no name, or one that no other certificate is for.
  std::vector<std::string> server_names;
  std::string ssl_cert_file;  // required: PEM, the chain after the leaf
  std::string ssl_key_file;   // required
};

// PostgreSQL's settings of the server side, under its names. Empty: not set.
struct ServerSettings : HandshakeSettings {
  // At least one; at most one of them a default. Without a default, a client whose name none is for is
  // refused (alert unrecognized_name).
  std::vector<ServerCertificate> certificates;
  std::string ssl_passphrase_command;  // run by the shell for an encrypted key; `%p` is the prompt
  std::string ssl_ca_file;             // asks clients for a certificate; one that is sent must verify
  std::string ssl_crl_file;            // of client certificates; needs ssl_ca_file, as does the next
  std::string ssl_crl_dir;
  bool ssl_prefer_server_ciphers = true;
};

}  // namespace pgveil::tls
