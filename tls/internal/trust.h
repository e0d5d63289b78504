// The authorities that a context trusts and their CRLs, loaded from files. This header is internal to tls/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tls/credentials.h"
#include "tls/internal/openssl.h"

namespace pgveil::tls {

// Loads sslrootcert: a PEM file, or kSystemTrust. Warns of certificates that cannot be part of a valid chain.
void trust_servers_of(SSL_CTX* context, const std::string& file, std::vector<SettingError>& errors,
                      std::vector<SettingError>& warnings);

// Loads ssl_ca_file. Clients are asked for a certificate of one of these authorities, and receive their
// names. A client need not send a certificate, but one that is sent must verify.
void ask_for_certificates_of(SSL_CTX* context, const std::string& file, std::vector<SettingError>& errors,
                             std::vector<SettingError>& warnings);

// Returns the files that `openssl rehash` has made in a directory of CRLs, in the order of their names. OpenSSL finds a CRL
// only under a name such as "5fa4b2c1.r0".
[[nodiscard]] std::vector<std::string> hashed_crls(const std::string& directory);

// The CRL files, with the names of their settings. Empty: not set.
struct CrlFiles {
  std::string_view file_setting;
  const std::string& file;
  std::string_view directory_setting;
  const std::string& directory;
};
// Has every certificate of a chain checked against the CRLs, if any are set. PostgreSQL's clients check
// nothing if their CRLs cannot be loaded; here that is an error. Must be called after the authorities have
// been loaded. Warns of expired CRLs, and of root authorities without a CRL: certificates of such an
// authority are refused.
void load_crls(SSL_CTX* context, const CrlFiles& crls, std::vector<SettingError>& errors,
               std::vector<SettingError>& warnings);

}  // namespace pgveil::tls
