// Whom a context trusts: authorities and CRLs, from files into a context. For the .cc files of this layer
// only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tls/credentials.h"
#include "tls/internal/openssl.h"

namespace pgveil::tls {

// sslrootcert: a PEM file, or kSystemTrust. Warns of certificates that no chain can go through.
void trust_servers_of(SSL_CTX* context, const std::string& file, std::vector<SettingMistake>& mistakes,
                      std::vector<SettingMistake>& warnings);

// ssl_ca_file: clients are asked for a certificate of one of these authorities, and are told their names. One
// that is sent must verify; none need be sent.
void ask_for_certificates_of(SSL_CTX* context, const std::string& file, std::vector<SettingMistake>& mistakes,
                             std::vector<SettingMistake>& warnings);

// Files, under the names of their settings. Empty: not set.
struct CrlFiles {
  std::string_view file_setting;
  const std::string& file;
  std::string_view directory_setting;
  const std::string& directory;
  std::string_view whose;  // for a person: "the server's chain"
};
// Has every certificate of a chain checked against them, if any are set. PostgreSQL's clients check nothing
// where their CRLs cannot be loaded; here that is a mistake. Call it after the authorities have been loaded:
// warns of CRLs that have expired, and of root authorities without a CRL. Whatever such an authority has
// issued is refused.
void load_crls(SSL_CTX* context, const CrlFiles& crls, std::vector<SettingMistake>& mistakes,
               std::vector<SettingMistake>& warnings);

}  // namespace pgveil::tls
