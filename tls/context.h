// The immutable policy of TLS connections: built once per configuration, shared by all connections and
// threads.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "tls/credentials.h"
#include "tls/host_name.h"
#include "tls/records_choice.h"

// OpenSSL's own name for SSL_CTX, so that this header needs none of OpenSSL's.
struct ssl_ctx_st;

namespace pgveil::tls {

enum class Version { tls1, tls1_1, tls1_2, tls1_3 };
// libpq's and PostgreSQL's words: "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3". Compared without case, as both
// do.
[[nodiscard]] std::optional<Version> version_from_name(std::string_view name);
[[nodiscard]] std::string_view name_of(Version version);

inline constexpr std::string_view kAlpnProtocol = "postgresql";  // PG_ALPN_PROTOCOL, pqcomm.h
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

struct OwnCertificate;  // tls/own_certificate.h
class KeyShares;        // tls/key_shares.h

// For connections to a server: always verify-full. The chain must end at a self-signed root of sslrootcert,
// every certificate of it is checked against the CRLs where any are set, and the leaf must be for the host
// (tls/host_name.h). A setting that cannot be loaded is a mistake and never ignored.
class ClientContext {
 public:
  // All mistakes at once.
  [[nodiscard]] static tl::expected<std::shared_ptr<const ClientContext>, std::vector<SettingMistake>> build(
      const ClientSettings& settings);
  // The same but for our own certificate, which replaces that of the settings: for one role of many. Costs
  // what the certificate does, since all else is shared. `sslpassword` is that of an encrypted key.
  [[nodiscard]] tl::expected<std::shared_ptr<const ClientContext>, std::vector<SettingMistake>>
  with_certificate(const std::string& sslcert, const std::string& sslkey,
                   std::string_view sslpassword = {}) const;
  ~ClientContext();
  ClientContext(const ClientContext&) = delete;
  ClientContext& operator=(const ClientContext&) = delete;

  // What will keep our own certificate from being accepted, now or soon: it has expired, is not yet valid, or
  // expires within kExpiryNotice. Judged when the context was built.
  [[nodiscard]] const std::vector<SettingMistake>& warnings() const { return warnings_; }

 private:
  friend class Engine;
  // How connections are judged, and whose their records are, beyond what OpenSSL's context does.
  struct Rules {
    CommonNameRule common_name;
    PostQuantum post_quantum;
    bool own_records;  // of TLS 1.3, with the ciphers that they know
  };
  ClientContext(ssl_ctx_st* context, Rules rules, std::shared_ptr<KeyShares> key_shares,
                std::unique_ptr<const OwnCertificate> own, std::vector<SettingMistake> warnings);
  ssl_ctx_st* context_;  // owned, with others
  Rules rules_;
  std::shared_ptr<KeyShares> key_shares_;      // what servers have taken; not policy, so it may change
  std::unique_ptr<const OwnCertificate> own_;  // shown in place of what context_ has; null: that
  std::vector<SettingMistake> warnings_;
};

// One certificate of a listener.
struct ServerCertificate {
  // The names in SNI that it is for: exact, or `*.example.com` for one label. Empty: the default, for clients
  // that send no name, or one that no other certificate is for.
  std::vector<std::string> server_names;
  std::string ssl_cert_file;  // required: PEM, the chain behind the leaf
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

class ServerCertificates;  // tls/server_certificates.h

// For connections from a client. No renegotiation, compression, tickets or resumption. Which certificate is
// shown changes nothing else: versions, ciphers and what is asked of clients are the same for every name.
class ServerContext {
 public:
  // All mistakes at once. Runs ssl_passphrase_command, and waits for it, once for each encrypted key.
  [[nodiscard]] static tl::expected<std::shared_ptr<const ServerContext>, std::vector<SettingMistake>> build(
      const ServerSettings& settings);
  ~ServerContext();
  ServerContext(const ServerContext&) = delete;
  ServerContext& operator=(const ServerContext&) = delete;

  // As ClientContext::warnings().
  [[nodiscard]] const std::vector<SettingMistake>& warnings() const { return warnings_; }
  // Whether a client can bind a login to its connection, whichever of the certificates it is shown
  // (tls/channel_binding.h).
  [[nodiscard]] bool binds_channels() const;
  // For the log: the names in the certificate that a client was shown, by its fingerprint, and the name that
  // the client asked for (SNI). Empty if no certificate of this context has that fingerprint.
  [[nodiscard]] std::string shown_certificate_text(std::string_view sha256_fingerprint,
                                                   const std::string& server_name) const;

 private:
  friend class Engine;
  struct Rules {
    PostQuantum post_quantum;
    bool own_records;  // of TLS 1.3, with the ciphers that they know
  };
  ServerContext(ssl_ctx_st* context, Rules rules, std::unique_ptr<const ServerCertificates> certificates,
                std::vector<SettingMistake> warnings);
  ssl_ctx_st* context_;  // owned
  Rules rules_;
  std::unique_ptr<const ServerCertificates> certificates_;
  std::vector<SettingMistake> warnings_;
};

}  // namespace pgveil::tls
