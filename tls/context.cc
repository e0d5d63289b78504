#include "tls/context.h"

#include <openssl/err.h>
#include <strings.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <string_view>

#include "tls/openssl.h"
#include "tls/own_certificate.h"

namespace pgveil::tls {
namespace {

using Mistakes = std::vector<SettingMistake>;

struct NamedVersion {
  std::string_view name;
  Version version;
  int number;
};
constexpr std::array kVersions{NamedVersion{"TLSv1", Version::tls1, TLS1_VERSION},
                               NamedVersion{"TLSv1.1", Version::tls1_1, TLS1_1_VERSION},
                               NamedVersion{"TLSv1.2", Version::tls1_2, TLS1_2_VERSION},
                               NamedVersion{"TLSv1.3", Version::tls1_3, TLS1_3_VERSION}};

int number_of(Version version) {
  return kVersions[static_cast<std::size_t>(version)].number;
}

// The wire form: each name behind its length.
std::string alpn_protocols() {
  return std::string(1, static_cast<char>(kAlpnProtocol.size())) + std::string(kAlpnProtocol);
}

std::string quoted(const std::string& path) {
  return "\"" + path + "\"";
}

// What both ends have in common: nothing that can be resumed, renegotiated or compressed; partial writes; and
// no buffers held by an idle connection.
void set_common_policy(SSL_CTX* context, Version min, std::optional<Version> max) {
  SSL_CTX_set_min_proto_version(context, number_of(min));
  SSL_CTX_set_max_proto_version(context, max ? number_of(*max) : 0);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
}

void load_trust(SSL_CTX* context, const ClientSettings& settings, Mistakes& mistakes) {
  ERR_clear_error();
  if (settings.sslrootcert == kSystemTrust) {
    if (SSL_CTX_set_default_verify_paths(context) != 1)
      mistakes.push_back({"sslrootcert",
                          "the system's certificate authorities cannot be loaded: " + take_openssl_error(),
                          "install the package ca-certificates, or name a file"});
    return;
  }
  if (settings.sslrootcert.empty()) {
    mistakes.push_back(
        {"sslrootcert", "root certificate file is not set",
         "name the file with the authority that issued the server's certificate, or \"system\""});
    return;
  }
  if (struct stat file{}; ::stat(settings.sslrootcert.c_str(), &file) != 0 && errno == ENOENT) {
    mistakes.push_back({"sslrootcert",
                        "root certificate file " + quoted(settings.sslrootcert) + " does not exist",
                        "provide the file, or use the system's trusted roots with sslrootcert = \"system\""});
    return;
  }
  if (SSL_CTX_load_verify_file(context, settings.sslrootcert.c_str()) != 1)
    mistakes.push_back({"sslrootcert",
                        "root certificate file " + quoted(settings.sslrootcert) +
                            " cannot be loaded: " + take_openssl_error(),
                        "the file must hold the authority that issued the server's certificate, as PEM"});
}

// Whether `openssl rehash` has been there: a CRL is found as "5fa4b2c1.r0" or not at all.
bool holds_hashed_crl(const std::string& directory) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789abcdef") == 8 && name.compare(8, 2, ".r") == 0) return true;
  }
  return false;
}

// libpq checks nothing where its CRLs cannot be loaded; here that is a mistake.
void load_crls(SSL_CTX* context, const ClientSettings& settings, Mistakes& mistakes) {
  if (settings.sslcrl.empty() && settings.sslcrldir.empty()) return;
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  ERR_clear_error();
  if (!settings.sslcrl.empty()) {
    X509_LOOKUP* lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    if (X509_load_crl_file(lookup, settings.sslcrl.c_str(), X509_FILETYPE_PEM) < 1)
      mistakes.push_back(
          {"sslcrl", "CRL file " + quoted(settings.sslcrl) + " cannot be loaded: " + take_openssl_error(),
           "the file must hold the CRLs of the authorities in the server's chain, as PEM"});
  }
  if (!settings.sslcrldir.empty()) {
    X509_LOOKUP* lookup = X509_STORE_add_lookup(store, X509_LOOKUP_hash_dir());
    if (!holds_hashed_crl(settings.sslcrldir) ||
        X509_LOOKUP_add_dir(lookup, settings.sslcrldir.c_str(), X509_FILETYPE_PEM) != 1)
      mistakes.push_back(
          {"sslcrldir",
           "CRL directory " + quoted(settings.sslcrldir) + " has no CRL that is named by its hash",
           "name a directory that `openssl rehash` has prepared and that is readable"});
  }
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
}

// Clients are asked for a certificate of one of these authorities, and are told their names.
void load_client_trust(SSL_CTX* context, const std::string& file, Mistakes& mistakes) {
  ERR_clear_error();
  if (SSL_CTX_load_verify_file(context, file.c_str()) != 1)
    mistakes.push_back({"ssl_ca_file",
                        "authority file " + quoted(file) + " cannot be loaded: " + take_openssl_error(),
                        "the file must hold the authorities that issue client certificates, as PEM"});
  const auto* objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(context));
  for (int i = 0; i < sk_X509_OBJECT_num(objects); ++i) {
    if (X509* authority = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i)))
      SSL_CTX_add_client_CA(context, authority);
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
}

// The client's list holds at least one protocol, or OpenSSL would not call this. Compared by hand: what
// OpenSSL offers for it reads past an empty list (CVE-2024-5535).
int select_alpn(SSL* /*ssl*/, const unsigned char** selected, unsigned char* selected_size,
                const unsigned char* offered, unsigned offered_size, void* /*argument*/) {
  unsigned place = 0;
  while (place < offered_size) {
    const unsigned size = offered[place];
    if (size == 0 || size > offered_size - place - 1) break;
    const std::string_view name(reinterpret_cast<const char*>(offered + place + 1), size);
    if (name == kAlpnProtocol) {
      *selected = offered + place + 1;
      *selected_size = static_cast<unsigned char>(size);
      return SSL_TLSEXT_ERR_OK;
    }
    place += 1 + size;
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

}  // namespace

std::optional<Version> version_from_name(std::string_view name) {
  for (const auto& known : kVersions) {
    if (known.name.size() == name.size() && ::strncasecmp(known.name.data(), name.data(), name.size()) == 0)
      return known.version;
  }
  return std::nullopt;
}

std::string_view name_of(Version version) {
  return kVersions[static_cast<std::size_t>(version)].name;
}

tl::expected<std::shared_ptr<const ClientContext>, std::vector<SettingMistake>> ClientContext::build(
    const ClientSettings& settings) {
  SslContext context(SSL_CTX_new(TLS_client_method()));
  if (!context)
    return tl::unexpected(Mistakes{{"sslrootcert", "TLS cannot be used: " + take_openssl_error(), ""}});
  Mistakes mistakes;
  set_common_policy(context.get(), settings.ssl_min_protocol_version, settings.ssl_max_protocol_version);
  load_trust(context.get(), settings, mistakes);
  load_crls(context.get(), settings, mistakes);
  if (settings.sslcert.empty() != settings.sslkey.empty()) {
    mistakes.push_back({settings.sslcert.empty() ? "sslcert" : "sslkey", "sslcert and sslkey go together",
                        "set both, or none for a server that asks for no client certificate"});
  } else if (!settings.sslcert.empty()) {
    load_own_certificate(context.get(),
                         {"sslcert", settings.sslcert, "sslkey", settings.sslkey, KeyFileRule::libpq,
                          "sslpassword", settings.sslpassword},
                         mistakes);
  }
  const std::string protocols = alpn_protocols();
  SSL_CTX_set_alpn_protos(context.get(), reinterpret_cast<const unsigned char*>(protocols.data()),
                          static_cast<unsigned>(protocols.size()));
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  if (!mistakes.empty()) return tl::unexpected(std::move(mistakes));
  return std::shared_ptr<const ClientContext>(new ClientContext(context.release()));
}

ClientContext::~ClientContext() {
  SSL_CTX_free(context_);
}

tl::expected<std::shared_ptr<const ServerContext>, std::vector<SettingMistake>> ServerContext::build(
    const ServerSettings& settings) {
  SslContext context(SSL_CTX_new(TLS_server_method()));
  if (!context)
    return tl::unexpected(Mistakes{{"ssl_cert_file", "TLS cannot be used: " + take_openssl_error(), ""}});
  Mistakes mistakes;
  set_common_policy(context.get(), settings.ssl_min_protocol_version, settings.ssl_max_protocol_version);
  SSL_CTX_set_options(context.get(), SSL_OP_CIPHER_SERVER_PREFERENCE);
  load_own_certificate(context.get(),
                       {"ssl_cert_file", settings.ssl_cert_file, "ssl_key_file", settings.ssl_key_file,
                        KeyFileRule::server, "", ""},
                       mistakes);
  if (!settings.ssl_ca_file.empty()) load_client_trust(context.get(), settings.ssl_ca_file, mistakes);
  SSL_CTX_set_alpn_select_cb(context.get(), select_alpn, nullptr);
  if (!mistakes.empty()) return tl::unexpected(std::move(mistakes));
  return std::shared_ptr<const ServerContext>(new ServerContext(context.release()));
}

ServerContext::~ServerContext() {
  SSL_CTX_free(context_);
}

}  // namespace pgveil::tls
