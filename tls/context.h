// The immutable policy of TLS connections: built once per configuration, shared by all connections and
// threads.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "tls/credentials.h"

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

// libpq's settings, under libpq's names. Empty: not set.
struct ClientSettings {
  std::string sslrootcert;  // required: a PEM file, or kSystemTrust
  std::string sslcert;      // PEM chain; needs sslkey
  std::string sslkey;       // PEM or DER
  std::string sslpassword;  // of an encrypted key; a secret
  std::string sslcrl;
  std::string sslcrldir;  // named by hash, as `openssl rehash` does
  Version ssl_min_protocol_version = Version::tls1_2;
  std::optional<Version> ssl_max_protocol_version;
};

// For connections to a server: always verify-full. The chain must end at a self-signed root of sslrootcert,
// every certificate of it is checked against the CRLs where any are set, and the leaf must be for the host
// (tls/host_name.h). A setting that cannot be loaded is a mistake and never ignored.
class ClientContext {
 public:
  // All mistakes at once.
  [[nodiscard]] static tl::expected<std::shared_ptr<const ClientContext>, std::vector<SettingMistake>> build(
      const ClientSettings& settings);
  ~ClientContext();
  ClientContext(const ClientContext&) = delete;
  ClientContext& operator=(const ClientContext&) = delete;

 private:
  friend class Engine;
  explicit ClientContext(ssl_ctx_st* context) : context_(context) {}
  ssl_ctx_st* context_;  // owned
};

// PostgreSQL's settings of the server side, under its names.
struct ServerSettings {
  std::string ssl_cert_file;  // required: PEM chain
  std::string ssl_key_file;   // required
  std::string ssl_ca_file;    // asks clients for a certificate; one that is sent must verify
  Version ssl_min_protocol_version = Version::tls1_2;
  std::optional<Version> ssl_max_protocol_version;
};

// For connections from a client. No renegotiation, compression, tickets or resumption.
class ServerContext {
 public:
  [[nodiscard]] static tl::expected<std::shared_ptr<const ServerContext>, std::vector<SettingMistake>> build(
      const ServerSettings& settings);
  ~ServerContext();
  ServerContext(const ServerContext&) = delete;
  ServerContext& operator=(const ServerContext&) = delete;

 private:
  friend class Engine;
  explicit ServerContext(ssl_ctx_st* context) : context_(context) {}
  ssl_ctx_st* context_;  // owned
};

}  // namespace pgveil::tls
