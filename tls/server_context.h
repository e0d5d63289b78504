// The immutable TLS policy for connections from clients. It is built once per configuration and shared by all
// connections and threads.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "tls/credentials.h"
#include "tls/failure.h"
#include "tls/settings.h"

// OpenSSL's own name for SSL_CTX, so that this header includes no header of OpenSSL.
struct ssl_ctx_st;

namespace pgveil::tls {

class ServerCertificates;  // tls/internal/server_certificates.h

// The policy for connections from clients. There is no renegotiation, compression, ticket or resumption. The
// server name selects only the certificate: versions, ciphers and the request for a client certificate are
// the same for every name.
class ServerContext {
 public:
  // Returns the context, or all errors in the settings at once. Runs ssl_passphrase_command once for each
  // encrypted key, and waits for it.
  [[nodiscard]] static tl::expected<std::shared_ptr<const ServerContext>, std::vector<SettingError>> build(
      const ServerSettings& settings);
  ~ServerContext();
  ServerContext(const ServerContext&) = delete;
  ServerContext& operator=(const ServerContext&) = delete;

  // The same as ClientContext::warnings().
  [[nodiscard]] const std::vector<SettingError>& warnings() const { return warnings_; }
  // Returns whether a client can use channel binding with every certificate of this context
  // (tls/internal/channel_binding.h).
  [[nodiscard]] bool binds_channels() const;
  // Returns for the log the names in the certificate that a client received, found by its fingerprint, and
  // the name that the client requested (SNI). Empty: no certificate of this context has that fingerprint.
  [[nodiscard]] std::string shown_certificate_text(std::string_view sha256_fingerprint,
                                                   const std::string& server_name) const;
  // Finds the certificate that a handshake would present to a client that requests this server name; empty: the client
  // requests none. An error is the failure of the handshake: no certificate is for that name.
  struct Presented {
    std::size_t certificate = 0;  // index in ServerSettings::certificates
    std::string names;            // for a person to read: describe()
  };
  [[nodiscard]] tl::expected<Presented, FailureReport> presented_for(const std::string& server_name) const;
  // Verifies the chain that a client has sent in an earlier handshake, as a handshake would do now: with the
  // authorities and CRLs of this context, and at the present time. Returns nullopt if the chain is valid. The context
  // must have ssl_ca_file. May be called from any thread. Throws std::bad_alloc.
  [[nodiscard]] std::optional<FailureReport> verify(const PeerChain& client) const;

 private:
  friend class Engine;
  struct Rules {
    PostQuantum post_quantum;
    bool own_records;  // our record layer for TLS 1.3, with the ciphers that it supports
    bool keep_peer_chain;
  };
  ServerContext(ssl_ctx_st* context, Rules rules, std::unique_ptr<const ServerCertificates> certificates,
                std::vector<SettingError> warnings);
  ssl_ctx_st* context_;  // owned
  Rules rules_;
  std::unique_ptr<const ServerCertificates> certificates_;
  std::vector<SettingError> warnings_;
};

}  // namespace pgveil::tls
