// Our own certificate chain and its key, loaded from files into a context or a connection. This header is
// internal to tls/.
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

// The source of the passphrase of an encrypted key.
struct Passphrase {
  enum class Source { setting, command };
  Source source;
  std::string_view setting;  // the name of the setting: "sslpassword" or "ssl_passphrase_command"
  std::string_view value;    // the passphrase, or the command that prints it; empty: not set
};

// The files of a certificate, with the names of their settings.
struct CertificateFiles {
  std::string_view cert_setting;
  const std::string& cert_file;
  std::string_view key_setting;
  const std::string& key_file;
  KeyFileRule key_rule;
  Passphrase passphrase;
  int certificate = -1;  // as in SettingError
};

struct OwnCertificate {
  Certificate leaf;
  CertificateChain chain;  // sent after the leaf; may be null
  PrivateKey key;
  bool key_is_encrypted = false;  // in its file
};

// Loads the pair. Adds to `errors` all reasons why the pair cannot be used at the security level of
// `context`. Expiry is not among them: the peer decides on it, as with libpq. Missing intermediates are taken
// from the certificates that `context` trusts.
[[nodiscard]] std::optional<OwnCertificate> load_own_certificate(const SSL_CTX* context,
                                                                 const CertificateFiles& files,
                                                                 std::vector<SettingError>& errors);

// Makes every connection of `context` present this certificate.
void use(SSL_CTX* context, const OwnCertificate& own);
// Makes this connection present this certificate instead of the one of its context. Returns false, with an
// error in OpenSSL's queue, if that fails.
[[nodiscard]] bool use(SSL* ssl, const OwnCertificate& own);

// Warns of a passphrase that is set for a key that is not encrypted.
void warn_of_unused_passphrase(const OwnCertificate& own, const CertificateFiles& files,
                               std::vector<SettingError>& warnings);

// Adds the warnings of ClientContext::warnings() for one certificate and its intermediates.
void warn_of_expiry(const OwnCertificate& own, const CertificateFiles& files,
                    std::vector<SettingError>& warnings);

// Warns if a certificate of the file is not the issuer of the one before it, and another one of the file is.
void warn_of_order(const OwnCertificate& own, const CertificateFiles& files,
                   std::vector<SettingError>& warnings);

// Warns if the leaf is for another purpose by its extended key usage or key usage. The peer decides on it,
// and some peers do not check it.
enum class Purpose { client, server };
void warn_of_purpose(const OwnCertificate& own, const CertificateFiles& files, Purpose purpose,
                     std::vector<SettingError>& warnings);

}  // namespace pgveil::tls
