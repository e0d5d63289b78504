// The certificates of a listener, and the choice among them for a client. This header is internal to tls/.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "tls/credentials.h"
#include "tls/internal/openssl.h"
#include "tls/internal/own_certificate.h"
#include "tls/internal/server_names.h"
#include "tls/settings.h"

namespace pgveil::tls {

class ServerCertificates {
 public:
  // Loads the certificates. After an error the result must not be used. `context` gives the security level,
  // and must already have its trusted authorities.
  [[nodiscard]] static std::unique_ptr<ServerCertificates> load(const SSL_CTX* context,
                                                                const ServerSettings& settings,
                                                                std::vector<SettingError>& errors,
                                                                std::vector<SettingError>& warnings);
  // Presents the certificates to the clients of `context`. This object must outlive `context`.
  void serve(SSL_CTX* context) const;
  // Returns whether tls-server-end-point is defined for all certificates.
  [[nodiscard]] bool have_end_points() const;
  // Returns the index in ServerSettings::certificates of the certificate for this server name, which is empty if the client sent
  // none; nullopt: the handshake fails.
  [[nodiscard]] std::optional<std::size_t> find_for(std::string_view server_name) const {
    return names_.find(server_name);
  }
  // Returns the certificate with an index of find_for().
  [[nodiscard]] X509* leaf(std::size_t index) const { return own_.at(index).leaf.get(); }
  // Returns the certificate with this fingerprint; null: there is none.
  [[nodiscard]] X509* find(std::string_view sha256_fingerprint) const;

 private:
  static int choose(SSL* ssl, int* alert, void* self);

  std::vector<OwnCertificate> own_;
  ServerNames names_;  // values are indexes in own_
};

}  // namespace pgveil::tls
