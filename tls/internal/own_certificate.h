// Our own certificate chain and its key: from files, and from there into a context or a connection. For the
// .cc files of this layer only.
#pragma once

#include <openssl/ssl.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tls/credentials.h"
#include "tls/internal/openssl.h"

namespace pgveil::tls {

// Where the passphrase of an encrypted key comes from.
struct Passphrase {
  enum class Source { setting, command };
  Source source;
  std::string_view setting;  // its name: "sslpassword", "ssl_passphrase_command"
  std::string_view value;    // the passphrase, or the command that prints it; empty: not set
};

// Files, under the names of their settings.
struct CertificateFiles {
  std::string_view cert_setting;
  const std::string& cert_file;
  std::string_view key_setting;
  const std::string& key_file;
  KeyFileRule key_rule;
  Passphrase passphrase;
  int certificate = -1;  // as in SettingMistake
};

struct OwnCertificate {
  Certificate leaf;
  CertificateChain chain;  // what is sent after the leaf; may be null
  PrivateKey key;
};

// Adds to `mistakes` whatever keeps the pair from being used, by the security level of `context`. Expiry does
// not: the peer judges that, as with libpq. Intermediates that the file lacks are taken from those that
// `context` trusts.
[[nodiscard]] std::optional<OwnCertificate> load_own_certificate(const SSL_CTX* context,
                                                                 const CertificateFiles& files,
                                                                 std::vector<SettingMistake>& mistakes);

// To be shown by every connection of `context`.
void use(SSL_CTX* context, const OwnCertificate& own);
// To be shown by this connection, in place of what its context has. False, and an error in OpenSSL's queue,
// where that cannot be.
[[nodiscard]] bool use(SSL* ssl, const OwnCertificate& own);

// What ClientContext::warnings() promises of one certificate and the intermediates after it.
void warn_of_expiry(const OwnCertificate& own, const CertificateFiles& files,
                    std::vector<SettingMistake>& warnings);

// Warns if a certificate of the file is not the issuer of the one before it, and another one of the file is.
void warn_of_order(const OwnCertificate& own, const CertificateFiles& files,
                   std::vector<SettingMistake>& warnings);

// Warns if the leaf says that it is for something else, by its extended key usage or its key usage. The peer
// judges that, and some judge nothing.
enum class Purpose { client, server };
void warn_of_purpose(const OwnCertificate& own, const CertificateFiles& files, Purpose purpose,
                     std::vector<SettingMistake>& warnings);

}  // namespace pgveil::tls
