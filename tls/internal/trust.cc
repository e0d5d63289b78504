#include "tls/internal/trust.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <memory>
#include <new>
#include <optional>
#include <system_error>
#include <utility>

#include "tls/file_hint.h"
#include "tls/internal/certificate_values.h"
#include "tls/internal/crl_check.h"
#include "tls/internal/file_content.h"
#include "tls/internal/file_kind.h"
#include "tls/settings.h"

namespace pgveil::tls {
namespace {

int find_crl_alone(X509_LOOKUP* lookup, X509_LOOKUP_TYPE type, const X509_NAME* name, X509_OBJECT* found) {
  if (type != X509_LU_CRL) return 0;
  return X509_LOOKUP_meth_get_get_by_subject(X509_LOOKUP_hash_dir())(lookup, type, name, found);
}

// OpenSSL's look-up in a directory of files named by hash, restricted to CRLs. Without the restriction
// OpenSSL, and so PostgreSQL, would trust an authority whose certificate is in the same directory.
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

struct FreedObjects {
  void operator()(STACK_OF(X509_OBJECT) * objects) const noexcept {
    sk_X509_OBJECT_pop_free(objects, X509_OBJECT_free);
  }
};
using Objects = std::unique_ptr<STACK_OF(X509_OBJECT), FreedObjects>;

// Calls `action` with each certificate and CRL that the context has loaded by now.
template <class Action>
void for_each_object(SSL_CTX* context, const Action& action) {
  X509_STORE* store = SSL_CTX_get_cert_store(context);
#if OPENSSL_VERSION_PREREQ(3, 3)
  const Objects copy(X509_STORE_get1_objects(store));
  if (!copy) throw std::bad_alloc();
  const auto* objects = copy.get();
#else
  const auto* objects = X509_STORE_get0_objects(store);
#endif
  for (int i = 0; i < sk_X509_OBJECT_num(objects); ++i) action(sk_X509_OBJECT_value(objects, i));
}

// Returns the authorities that the context has loaded. They belong to the context.
std::vector<X509*> authorities_of(SSL_CTX* context) {
  std::vector<X509*> authorities;
  for_each_object(context, [&](const X509_OBJECT* object) {
    if (X509* authority = X509_OBJECT_get0_X509(object)) authorities.push_back(authority);
  });
  return authorities;
}

// Sets the list of authorities that is sent to clients, and returns the number of authorities that the
// context trusts.
int tell_names(SSL_CTX* context) {
  int count = 0;
  for (X509* authority : authorities_of(context))
    if (SSL_CTX_add_client_CA(context, authority) == 1) ++count;
  return count;
}

bool is_self_issued(const X509* certificate) {
  return X509_NAME_cmp(X509_get_subject_name(certificate), X509_get_issuer_name(certificate)) == 0;
}

void warn_of_authorities(SSL_CTX* context, const std::string& setting, const std::string& file,
                         std::vector<SettingError>& warnings) {
  const std::int64_t now = std::time(nullptr);
  bool has_root = false;
  for (X509* authority : authorities_of(context)) {
    const std::string named = "the certificate " + holder_of(authority) + " in " + in_quotes(file);
    const auto ends = seconds_since_1970(X509_get0_notAfter(authority));
    has_root |= is_self_issued(authority);
    // A self-signed certificate that is not an authority can still be a whole chain.
    if (!is_self_issued(authority) && X509_check_ca(authority) == 0)
      warnings.push_back({setting, named + " is not an authority, and is not trusted",
                          "Name the file with the authority that issued it."});
    else if (ends < now)
      warnings.push_back({setting,
                          named + " expired on " + utc_text(ends) + ": whatever it has issued is refused",
                          "Have it renewed, or remove it."});
  }
  ERR_clear_error();
  if (!has_root)
    warnings.push_back({setting, in_quotes(file) + " holds no root authority: every certificate is refused",
                        "Add the self-signed certificate at the end of the chain."});
}

// Returns all CRLs of a file, at least one, or the reason why there are none.
tl::expected<std::vector<Crl>, FileFault> crls_in(const std::string& path) {
  const auto content = FileContent::read(path);
  if (!content)
    return tl::unexpected(FileFault{std::strerror(content.error()), file_hint(path, content.error())});
  const Bio file = content->bio();
  std::vector<Crl> crls;
  ERR_clear_error();
  while (Crl crl{PEM_read_bio_X509_CRL(file.get(), nullptr, nullptr, nullptr)})
    crls.push_back(std::move(crl));
  if (!crls.empty() && is_end_of_pem()) return crls;
  const std::string error = take_openssl_error();
  return tl::unexpected(fault_of(content->bytes(), Wanted::crls, path, error));
}

// A delta CRL contains only changes since a complete CRL. An operator who configures one expects that it is
// used.
bool refuse_delta(const std::vector<Crl>& crls, std::string_view setting, const std::string& file,
                  std::vector<SettingError>& errors) {
  const bool has_delta =
      std::any_of(crls.begin(), crls.end(), [](const Crl& crl) { return is_delta(crl.get()); });
  if (has_delta)
    errors.push_back({std::string(setting), in_quotes(file) + " is a delta CRL, or contains one",
                      "Use the complete CRLs of the authority only."});
  return has_delta;
}

// This fails only if there is no memory.
void add(X509_STORE* store, X509_CRL* crl) {
  if (X509_STORE_add_crl(store, crl) != 1) throw std::bad_alloc();
}

// Adds the certificates and CRLs of a file to the context's store, as SSL_CTX_load_verify_file() does with a
// file that it opens itself. Returns OpenSSL's error, or nothing.
std::optional<std::string> add_authorities(SSL_CTX* context, const FileContent& content) {
  ERR_clear_error();
  const Infos infos = content.infos();
  if (!infos) return take_openssl_error();
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  int count = 0;
  for (int i = 0; i < sk_X509_INFO_num(infos.get()); ++i) {
    const X509_INFO* info = sk_X509_INFO_value(infos.get(), i);
    if (info->x509 != nullptr && X509_STORE_add_cert(store, info->x509) != 1) return take_openssl_error();
    if (info->crl != nullptr && X509_STORE_add_crl(store, info->crl) != 1) return take_openssl_error();
    count += (info->x509 != nullptr ? 1 : 0) + (info->crl != nullptr ? 1 : 0);
  }
  return count > 0 ? std::nullopt : std::optional<std::string>("no certificate or crl found");
}

// Returns what is wrong, or nothing.
std::optional<FileFault> load_authorities(SSL_CTX* context, const std::string& path,
                                          const tl::expected<FileContent, int>& content) {
  if (!content) return FileFault{std::strerror(content.error()), file_hint(path, content.error())};
  const auto error = add_authorities(context, *content);
  if (!error) return std::nullopt;
  return fault_of(content->bytes(), Wanted::authorities, path, *error);
}

struct PlacedCrl {
  Crl crl;
  std::string setting;
  std::string file;
};

// Returns the CRLs of the file, and those in the directory that OpenSSL would find for one of the
// authorities.
std::vector<PlacedCrl> crls_of(SSL_CTX* context, const CrlFiles& files) {
  std::vector<PlacedCrl> crls;
  for_each_object(context, [&](const X509_OBJECT* object) {
    X509_CRL* crl = X509_OBJECT_get0_X509_CRL(object);
    if (crl == nullptr) return;
    X509_CRL_up_ref(crl);
    crls.push_back({Crl(crl), std::string(files.file_setting), files.file});
  });
  if (files.directory.empty()) return crls;
  for (const X509* authority : authorities_of(context)) {
    const unsigned long hash = X509_NAME_hash_ex(X509_get_subject_name(authority), nullptr, nullptr, nullptr);
    for (int number = 0;; ++number) {
      std::array<char, 32> name{};
      std::snprintf(name.data(), name.size(), "%08lx.r%d", hash, number);
      const std::string path = (std::filesystem::path(files.directory) / name.data()).string();
      const auto content = FileContent::read(path);
      if (!content) break;
      Crl crl(PEM_read_bio_X509_CRL(content->bio().get(), nullptr, nullptr, nullptr));
      if (crl) crls.push_back({std::move(crl), std::string(files.directory_setting), path});
    }
  }
  ERR_clear_error();
  return crls;
}

void warn_of_crls(SSL_CTX* context, const CrlFiles& files, std::vector<SettingError>& warnings) {
  const auto crls = crls_of(context, files);
  const std::int64_t now = std::time(nullptr);
  for (const auto& [crl, setting, file] : crls) {
    const ASN1_TIME* next_update = X509_CRL_get0_nextUpdate(crl.get());
    const std::string named =
        "the CRL of " + in_quotes(name_text(X509_CRL_get_issuer(crl.get()))) + " in " + in_quotes(file);
    if (next_update != nullptr && seconds_since_1970(next_update) < now)
      warnings.push_back({setting,
                          named + " expired on " + utc_text(seconds_since_1970(next_update)) +
                              ": every certificate of this authority is refused",
                          "Get its present CRL, then reload pgveil."});
    if (const auto begins = seconds_since_1970(X509_CRL_get0_lastUpdate(crl.get())); begins > now)
      warnings.push_back(
          {setting, named + " is not valid before " + utc_text(begins), "Check the clock of this machine."});
  }
  for (X509* authority : authorities_of(context)) {
    // Which other CRLs are needed depends on the chain that the peer sends.
    if (!is_self_issued(authority)) continue;
    bool has_crl = false, is_signed = false;
    for (const auto& placed : crls) {
      if (X509_NAME_cmp(X509_CRL_get_issuer(placed.crl.get()), X509_get_subject_name(authority)) != 0)
        continue;
      has_crl = true;
      is_signed |= X509_CRL_verify(placed.crl.get(), X509_get0_pubkey(authority)) == 1;
    }
    if (is_signed) continue;
    const bool is_file = !files.file.empty();
    warnings.push_back({std::string(is_file ? files.file_setting : files.directory_setting),
                        std::string(has_crl ? "no CRL with a valid signature" : "no CRL") +
                            " of the authority " + in_quotes(name_text(X509_get_subject_name(authority))) +
                            " is in " + in_quotes(is_file ? files.file : files.directory) +
                            ": every certificate of this authority is refused",
                        "Add its CRL."});
  }
  ERR_clear_error();
}

// Returns why the directory cannot be searched; nullopt: it can.
std::optional<SettingError> fault_of_directory(const CrlFiles& crls) {
  std::error_code error;
  const std::filesystem::directory_iterator entries(crls.directory, error);
  if (!error) return std::nullopt;
  const std::string hint =
      error == std::errc::not_a_directory
          ? "Name the directory, or set " + std::string(crls.file_setting) + " to a file of CRLs."
          : file_hint(crls.directory, error.value());
  return SettingError{std::string(crls.directory_setting),
                      "CRL directory " + in_quotes(crls.directory) + " cannot be read: " + error.message(),
                      hint};
}

}  // namespace

std::vector<std::string> hashed_crls(const std::string& directory) {
  std::vector<std::string> paths;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename();
    if (name.find_first_not_of("0123456789abcdef") == 8 && name.compare(8, 2, ".r") == 0)
      paths.push_back(entry->path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

void trust_servers_of(SSL_CTX* context, const std::string& file, std::vector<SettingError>& errors,
                      std::vector<SettingError>& warnings) {
  ERR_clear_error();
  if (file == kSystemTrust) {
    if (SSL_CTX_set_default_verify_paths(context) != 1)
      errors.push_back({"sslrootcert",
                        "the system's certificate authorities cannot be loaded: " + take_openssl_error(),
                        "Install the package ca-certificates, or name a file."});
    return;
  }
  if (file.empty()) {
    errors.push_back(
        {"sslrootcert", "root certificate file is not set",
         "Name the file with the authority that issued the server's certificate, or \"system\"."});
    return;
  }
  const auto content = FileContent::read(file);
  if (!content && content.error() == ENOENT) {
    errors.push_back({"sslrootcert", "root certificate file " + in_quotes(file) + " does not exist",
                      file_hint(file, ENOENT) + " Use \"system\" for the roots that this system trusts."});
    return;
  }
  if (const auto fault = load_authorities(context, file, content))
    errors.push_back({"sslrootcert",
                      "root certificate file " + in_quotes(file) + " cannot be loaded: " + fault->why,
                      fault->hint});
  else
    warn_of_authorities(context, "sslrootcert", file, warnings);
}

void ask_for_certificates_of(SSL_CTX* context, const std::string& file, std::vector<SettingError>& errors,
                             std::vector<SettingError>& warnings) {
  ERR_clear_error();
  auto fault = load_authorities(context, file, FileContent::read(file));
  // A file may contain only CRLs.
  if (!fault && tell_names(context) == 0)
    fault = FileFault{"it holds no certificate",
                      "Name the file that holds the authorities that issue client certificates, as PEM."};
  if (fault)
    errors.push_back({"ssl_ca_file", "authority file " + in_quotes(file) + " cannot be loaded: " + fault->why,
                      fault->hint});
  else
    warn_of_authorities(context, "ssl_ca_file", file, warnings);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
}

void load_crls(SSL_CTX* context, const CrlFiles& crls, std::vector<SettingError>& errors,
               std::vector<SettingError>& warnings) {
  if (crls.file.empty() && crls.directory.empty()) return;
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  ERR_clear_error();
  if (!crls.file.empty()) {
    const auto loaded = crls_in(crls.file);
    if (!loaded)
      errors.push_back({std::string(crls.file_setting),
                        "CRL file " + in_quotes(crls.file) + " cannot be loaded: " + loaded.error().why,
                        loaded.error().hint});
    else if (!refuse_delta(*loaded, crls.file_setting, crls.file, errors))
      for (const auto& crl : *loaded) add(store, crl.get());
  }
  if (!crls.directory.empty()) {
    if (auto fault = fault_of_directory(crls)) {
      errors.push_back(*std::move(fault));
      return check_crls(store);
    }
    X509_LOOKUP* lookup = X509_STORE_add_lookup(store, crl_directory());
    const auto paths = hashed_crls(crls.directory);
    if (paths.empty() || X509_LOOKUP_add_dir(lookup, crls.directory.c_str(), X509_FILETYPE_PEM) != 1)
      errors.push_back(
          {std::string(crls.directory_setting),
           "CRL directory " + in_quotes(crls.directory) + " has no CRL that is named by its hash",
           "Run \"openssl rehash\" for the directory: it links each CRL by its hash."});
    // A file that cannot be read is ignored here: the look-up does not find it either.
    for (const auto& path : paths)
      if (const auto found = crls_in(path))
        if (refuse_delta(*found, crls.directory_setting, path, errors)) break;
  }
  check_crls(store);
  if (errors.empty()) warn_of_crls(context, crls, warnings);
}

}  // namespace pgveil::tls
