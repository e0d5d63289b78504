// Our own certificate chain and its key, from files into a context. For the .cc files of this layer only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tls/credentials.h"
#include "tls/openssl.h"

namespace pgveil::tls {

// Files, under the names of their settings.
struct OwnCertificate {
  std::string_view cert_setting;
  const std::string& cert_file;
  std::string_view key_setting;
  const std::string& key_file;
  KeyFileRule key_rule;
  std::string_view password_setting;  // empty: there is none, and the key must not be encrypted
  std::string_view password;
};

// Adds to `mistakes` whatever keeps the pair from being used. Expiry does not: the peer judges that, as with
// libpq.
void load_own_certificate(SSL_CTX* context, const OwnCertificate& own, std::vector<SettingMistake>& mistakes);

}  // namespace pgveil::tls
