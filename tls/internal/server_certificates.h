// The certificates of a listener, and which of them a client is shown. For the .cc files of this layer only.
#pragma once

#include <memory>
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
  // Of no use where there was a mistake. The security level is that of `context`, which trusts already whom
  // it is to trust.
  [[nodiscard]] static std::unique_ptr<ServerCertificates> load(const SSL_CTX* context,
                                                                const ServerSettings& settings,
                                                                std::vector<SettingMistake>& mistakes,
                                                                std::vector<SettingMistake>& warnings);
  // Shows them to the clients of `context`, which must not outlive this.
  void serve(SSL_CTX* context) const;
  // Whether tls-server-end-point is defined for every one of them.
  [[nodiscard]] bool have_end_points() const;
  // The one with this fingerprint; null: there is none.
  [[nodiscard]] X509* find(std::string_view sha256_fingerprint) const;

 private:
  static int choose(SSL* ssl, int* alert, void* self);

  std::vector<OwnCertificate> own_;
  ServerNames names_;  // places in own_
};

}  // namespace pgveil::tls
