#include <openssl/err.h>

#include "tls/context.h"
#include "tls/openssl.h"
#include "tls/policy.h"
#include "tls/server_certificates.h"
#include "tls/traffic_secrets.h"
#include "tls/trust.h"
#include "tls/verification.h"

namespace pgveil::tls {
namespace {

using Mistakes = std::vector<SettingMistake>;

struct FreedCiphers {
  void operator()(STACK_OF(SSL_CIPHER) * ciphers) const noexcept { sk_SSL_CIPHER_free(ciphers); }
};
using Ciphers = std::unique_ptr<STACK_OF(SSL_CIPHER), FreedCiphers>;

void set_versions(SSL_CTX* context, const ServerSettings& settings, Mistakes& mistakes) {
  const auto max = settings.ssl_max_protocol_version;
  if (max && *max < settings.ssl_min_protocol_version)
    mistakes.push_back({"ssl_min_protocol_version",
                        "ssl_min_protocol_version " + in_quotes(name_of(settings.ssl_min_protocol_version)) +
                            " is higher than ssl_max_protocol_version " + in_quotes(name_of(*max)),
                        "lower the one or raise the other"});
  set_common_policy(context, settings.ssl_min_protocol_version, max);
}

bool offers_tls13(SSL_CTX* context) {
  const auto* ciphers = SSL_CTX_get_ciphers(context);
  for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); ++i) {
    if (std::string_view(SSL_CIPHER_get_version(sk_SSL_CIPHER_value(ciphers, i))) == "TLSv1.3") return true;
  }
  return false;
}

void set_ciphers(SSL_CTX* context, const ServerSettings& settings, Mistakes& mistakes) {
  const std::string list = settings.ssl_ciphers.empty() ? std::string(kDefaultCiphers) : settings.ssl_ciphers;
  ERR_clear_error();
  if (SSL_CTX_set_cipher_list(context, list.c_str()) != 1)
    mistakes.push_back({"ssl_ciphers",
                        "no cipher is meant by " + in_quotes(list) + ": " + take_openssl_error(),
                        "see `openssl ciphers -v`; those of TLS 1.3 stand in ssl_tls13_ciphers"});
  const std::string& tls13 = settings.ssl_tls13_ciphers;
  // OpenSSL passes over names that it does not know, and takes those of older ciphers.
  if (!tls13.empty() && (SSL_CTX_set_ciphersuites(context, tls13.c_str()) != 1 || !offers_tls13(context)))
    mistakes.push_back({"ssl_tls13_ciphers", "no cipher of TLS 1.3 is meant by " + in_quotes(tls13),
                        "see `openssl ciphers -v -s -tls1_3`, such as TLS_AES_256_GCM_SHA384"});
  if (settings.ssl_prefer_server_ciphers) SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
  // For DHE, where ssl_ciphers asks for it: groups of RFC 7919, as strong as the certificate's key.
  SSL_CTX_set_dh_auto(context, 1);
}

void set_groups(SSL_CTX* context, const std::string& groups, Mistakes& mistakes) {
  if (groups.empty()) return;
  ERR_clear_error();
  // SSL_CTX_set1_groups_list() without the macro's C cast; OpenSSL only reads the list.
  if (SSL_CTX_ctrl(context, SSL_CTRL_SET_GROUPS_LIST, 0, const_cast<char*>(groups.c_str())) != 1)
    mistakes.push_back({"ssl_groups",
                        "the groups " + in_quotes(groups) + " are not all known to OpenSSL here",
                        "name groups that this OpenSSL has, such as X25519:P-256, or leave it out"});
}

// Whether a cipher of TLS 1.2 or older has what each of kDefaultCiphers has: forward secrecy, and encryption
// that is authenticated and has a key of at least 128 bits.
bool is_as_strong_as_default(const SSL_CIPHER* cipher) {
  const int exchange = SSL_CIPHER_get_kx_nid(cipher);
  return SSL_CIPHER_is_aead(cipher) == 1 && SSL_CIPHER_get_bits(cipher, nullptr) >= 128 &&
         (exchange == NID_kx_ecdhe || exchange == NID_kx_dhe || exchange == NID_kx_any);
}

void warn_of_weak_ciphers(const STACK_OF(SSL_CIPHER) * ciphers, Mistakes& warnings) {
  std::string first;
  int count = 0;
  for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); ++i) {
    const SSL_CIPHER* cipher = sk_SSL_CIPHER_value(ciphers, i);
    if (!is_as_strong_as_default(cipher) && count++ == 0) first = SSL_CIPHER_get_name(cipher);
  }
  if (count == 0) return;
  const std::string others = count > 1 ? " and " + std::to_string(count - 1) + " more" : "";
  warnings.push_back(
      {"ssl_ciphers",
       "it allows " + in_quotes(first) + others +
           ", without forward secrecy or without authenticated encryption: weaker than the default",
       "use the default, " + in_quotes(kDefaultCiphers)});
}

// What the settings come to, taken together.
void check_ciphers(SSL_CTX* context, Mistakes& mistakes, Mistakes& warnings) {
  const Ssl ssl(SSL_new(context));
  const Ciphers ciphers(SSL_get1_supported_ciphers(ssl.get()));
  if (sk_SSL_CIPHER_num(ciphers.get()) <= 0)
    mistakes.push_back({"ssl_ciphers", "no cipher is left in the range of TLS versions",
                        "check ssl_ciphers, ssl_min_protocol_version and ssl_max_protocol_version"});
  for (int i = 0; i < sk_SSL_CIPHER_num(ciphers.get()); ++i) {
    const SSL_CIPHER* cipher = sk_SSL_CIPHER_value(ciphers.get(), i);
    if (SSL_CIPHER_get_auth_nid(cipher) != NID_auth_null && SSL_CIPHER_get_cipher_nid(cipher) != NID_undef)
      continue;
    mistakes.push_back({"ssl_ciphers",
                        "it allows " + in_quotes(SSL_CIPHER_get_name(cipher)) +
                            ", which encrypts nothing or needs no certificate",
                        "add `:!aNULL:!eNULL`"});
    return;
  }
  warn_of_weak_ciphers(ciphers.get(), warnings);
}

void trust_clients(SSL_CTX* context, const ServerSettings& settings, Mistakes& mistakes, Mistakes& warnings) {
  if (!settings.ssl_ca_file.empty()) {
    ask_for_certificates_of(context, settings.ssl_ca_file, mistakes, warnings);
    load_crls(
        context,
        {"ssl_crl_file", settings.ssl_crl_file, "ssl_crl_dir", settings.ssl_crl_dir, "a client's chain"},
        mistakes, warnings);
    return;
  }
  const auto refuse = [&](const char* setting, const std::string& value) {
    if (!value.empty())
      mistakes.push_back({setting, std::string(setting) + " is set without ssl_ca_file",
                          "set ssl_ca_file too: without it no client is asked for a certificate"});
  };
  refuse("ssl_crl_file", settings.ssl_crl_file);
  refuse("ssl_crl_dir", settings.ssl_crl_dir);
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

ServerContext::ServerContext(ssl_ctx_st* context, bool own_records,
                             std::unique_ptr<const ServerCertificates> certificates,
                             std::vector<SettingMistake> warnings)
    : context_(context),
      own_records_(own_records),
      certificates_(std::move(certificates)),
      warnings_(std::move(warnings)) {}

bool ServerContext::binds_channels() const {
  return certificates_->have_end_points();
}

std::string ServerContext::shown_certificate_text(std::string_view sha256_fingerprint,
                                                  const std::string& server_name) const {
  X509* leaf = certificates_->find(sha256_fingerprint);
  return leaf == nullptr ? "" : tls::shown_certificate_text(leaf, server_name);
}

tl::expected<std::shared_ptr<const ServerContext>, std::vector<SettingMistake>> ServerContext::build(
    const ServerSettings& settings) {
  SslContext context(SSL_CTX_new(TLS_server_method()));
  if (!context)
    return tl::unexpected(Mistakes{{"ssl_cert_file", "TLS cannot be used: " + take_openssl_error(), ""}});
  Mistakes mistakes;
  Mistakes warnings;
  set_versions(context.get(), settings, mistakes);
  const bool own_records = choose_records(settings.records).own;
  if (own_records) tell_traffic_secrets(context.get());
  set_ciphers(context.get(), settings, mistakes);
  set_groups(context.get(), settings.ssl_groups, mistakes);
  if (mistakes.empty()) check_ciphers(context.get(), mistakes, warnings);
  warn_of_old_version("ssl_min_protocol_version", settings.ssl_min_protocol_version, warnings);
  trust_clients(context.get(), settings, mistakes, warnings);
  auto certificates = ServerCertificates::load(context.get(), settings, mistakes, warnings);
  SSL_CTX_set_alpn_select_cb(context.get(), select_alpn, nullptr);
  if (!mistakes.empty()) return tl::unexpected(std::move(mistakes));
  certificates->serve(context.get());
  return std::shared_ptr<const ServerContext>(
      new ServerContext(context.release(), own_records, std::move(certificates), std::move(warnings)));
}

ServerContext::~ServerContext() {
  SSL_CTX_free(context_);
}

}  // namespace pgveil::tls
