// The immutable policy of TLS connections from clients: built once per configuration, shared by all
// connections and threads.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "tls/credentials.h"
#include "tls/settings.h"

// OpenSSL's own name for SSL_CTX, so that this header needs none of OpenSSL's.
struct ssl_ctx_st;

namespace pgveil::tls {

class ServerCertificates;  // tls/internal/server_certificates.h

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
  // (tls/internal/channel_binding.h).
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
