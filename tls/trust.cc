#include "tls/trust.h"

#include <openssl/err.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include "tls/context.h"

namespace pgveil::tls {
namespace {

// Whether `openssl rehash` has been there: a CRL is found as "5fa4b2c1.r0" or not at all.
bool holds_hashed_crl(const std::string& directory) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789abcdef") == 8 && name.compare(8, 2, ".r") == 0) return true;
  }
  return false;
}

int find_crl_alone(X509_LOOKUP* lookup, X509_LOOKUP_TYPE type, const X509_NAME* name, X509_OBJECT* found) {
  if (type != X509_LU_CRL) return 0;
  return X509_LOOKUP_meth_get_get_by_subject(X509_LOOKUP_hash_dir())(lookup, type, name, found);
}

// OpenSSL's directory of files named by hash, but for CRLs alone: OpenSSL, and so PostgreSQL, would trust an
// authority whose certificate lies beside them.
X509_LOOKUP_METHOD* crl_directory() {
  static X509_LOOKUP_METHOD* const method = [] {
    X509_LOOKUP_METHOD* all = X509_LOOKUP_hash_dir();
    X509_LOOKUP_METHOD* made = X509_LOOKUP_meth_new("CRLs by hash");
    X509_LOOKUP_meth_set_new_item(made, X509_LOOKUP_meth_get_new_item(all));
    X509_LOOKUP_meth_set_free(made, X509_LOOKUP_meth_get_free(all));
    X509_LOOKUP_meth_set_ctrl(made, X509_LOOKUP_meth_get_ctrl(all));
    X509_LOOKUP_meth_set_get_by_subject(made, find_crl_alone);
    return made;
  }();
  return method;
}

// How many authorities the context trusts by now; their names are what clients are told.
int tell_names(SSL_CTX* context) {
  int count = 0;
  const auto* objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(context));
  for (int i = 0; i < sk_X509_OBJECT_num(objects); ++i) {
    X509* authority = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));
    if (authority != nullptr && SSL_CTX_add_client_CA(context, authority) == 1) ++count;
  }
  return count;
}

}  // namespace

void trust_servers_of(SSL_CTX* context, const std::string& file, std::vector<SettingMistake>& mistakes) {
  ERR_clear_error();
  if (file == kSystemTrust) {
    if (SSL_CTX_set_default_verify_paths(context) != 1)
      mistakes.push_back({"sslrootcert",
                          "the system's certificate authorities cannot be loaded: " + take_openssl_error(),
                          "install the package ca-certificates, or name a file"});
    return;
  }
  if (file.empty()) {
    mistakes.push_back(
        {"sslrootcert", "root certificate file is not set",
         "name the file with the authority that issued the server's certificate, or \"system\""});
    return;
  }
  if (struct stat status{}; ::stat(file.c_str(), &status) != 0 && errno == ENOENT) {
    mistakes.push_back({"sslrootcert", "root certificate file " + in_quotes(file) + " does not exist",
                        "provide the file, or use the system's trusted roots with sslrootcert = \"system\""});
    return;
  }
  if (SSL_CTX_load_verify_file(context, file.c_str()) != 1)
    mistakes.push_back(
        {"sslrootcert",
         "root certificate file " + in_quotes(file) + " cannot be loaded: " + take_openssl_error(),
         "the file must hold the authority that issued the server's certificate, as PEM"});
}

void ask_for_certificates_of(SSL_CTX* context, const std::string& file,
                             std::vector<SettingMistake>& mistakes) {
  ERR_clear_error();
  const bool loaded = SSL_CTX_load_verify_file(context, file.c_str()) == 1;
  // A file may hold CRLs alone.
  if (!loaded || tell_names(context) == 0)
    mistakes.push_back({"ssl_ca_file",
                        "authority file " + in_quotes(file) + " cannot be loaded: " +
                            (loaded ? "it holds no certificate" : take_openssl_error()),
                        "the file must hold the authorities that issue client certificates, as PEM"});
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
}

void load_crls(SSL_CTX* context, const CrlFiles& crls, std::vector<SettingMistake>& mistakes) {
  if (crls.file.empty() && crls.directory.empty()) return;
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  ERR_clear_error();
  if (!crls.file.empty()) {
    X509_LOOKUP* lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    if (X509_load_crl_file(lookup, crls.file.c_str(), X509_FILETYPE_PEM) < 1)
      mistakes.push_back(
          {std::string(crls.file_setting),
           "CRL file " + in_quotes(crls.file) + " cannot be loaded: " + take_openssl_error(),
           "the file must hold the CRLs of the authorities in " + std::string(crls.whose) + ", as PEM"});
  }
  if (!crls.directory.empty()) {
    X509_LOOKUP* lookup = X509_STORE_add_lookup(store, crl_directory());
    if (!holds_hashed_crl(crls.directory) ||
        X509_LOOKUP_add_dir(lookup, crls.directory.c_str(), X509_FILETYPE_PEM) != 1)
      mistakes.push_back(
          {std::string(crls.directory_setting),
           "CRL directory " + in_quotes(crls.directory) + " has no CRL that is named by its hash",
           "name a directory that `openssl rehash` has prepared and that is readable"});
  }
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
}

}  // namespace pgveil::tls
