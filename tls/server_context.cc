#include "tls/server_context.h"

#include "tls/host_name.h"
#include "tls/internal/certificate_values.h"
#include "tls/internal/chain_check.h"
#include "tls/internal/handshake_settings.h"
#include "tls/internal/openssl.h"
#include "tls/internal/policy.h"
#include "tls/internal/server_certificates.h"
#include "tls/internal/traffic_secrets.h"
#include "tls/internal/trust.h"
#include "tls/internal/verification.h"

namespace pgveil::tls {
namespace {

using SettingErrors = std::vector<SettingError>;

void trust_clients(SSL_CTX* context, const ServerSettings& settings, SettingErrors& errors,
                   SettingErrors& warnings) {
  if (!settings.ssl_ca_file.empty()) {
    ask_for_certificates_of(context, settings.ssl_ca_file, errors, warnings);
    load_crls(context, {"ssl_crl_file", settings.ssl_crl_file, "ssl_crl_dir", settings.ssl_crl_dir}, errors,
              warnings);
    return;
  }
  const auto refuse = [&](const char* setting, const std::string& value) {
    if (!value.empty())
      errors.push_back({setting, "is set without ssl_ca_file",
                        "Set ssl_ca_file, too: without it no client is asked for a certificate."});
  };
  refuse("ssl_crl_file", settings.ssl_crl_file);
  refuse("ssl_crl_dir", settings.ssl_crl_dir);
}

// Selects the protocol. OpenSSL calls this only if the client's list holds at least one protocol. The list is
// compared here because OpenSSL's function for it reads past the end of an empty list (CVE-2024-5535).
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

ServerContext::ServerContext(ssl_ctx_st* context, Rules rules,
                             std::unique_ptr<const ServerCertificates> certificates,
                             std::vector<SettingError> warnings)
    : context_(context),
      rules_(rules),
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

tl::expected<ServerContext::Presented, FailureReport> ServerContext::presented_for(
    const std::string& server_name) const {
  const auto place = certificates_->find_for(server_name);
  if (!place) return tl::unexpected(unrecognized_name_report(server_name));
  return Presented{.certificate = *place, .names = describe(names_of(certificates_->leaf(*place)))};
}

std::optional<FailureReport> ServerContext::verify(const PeerChain& client) const {
  return check_chain(context_, client, nullptr);
}

tl::expected<std::shared_ptr<const ServerContext>, std::vector<SettingError>> ServerContext::build(
    const ServerSettings& settings) {
  SslContext context(SSL_CTX_new(TLS_server_method()));
  if (!context)
    return tl::unexpected(
        SettingErrors{{"ssl_cert_file", "TLS cannot be used: " + take_openssl_error(), ""}});
  SettingErrors errors;
  SettingErrors warnings;
  set_handshake(context.get(), settings, errors, warnings);
  const bool own_records = choose_records(settings.records).own;
  if (own_records) tell_traffic_secrets(context.get());
  if (settings.ssl_prefer_server_ciphers) SSL_CTX_set_options(context.get(), SSL_OP_CIPHER_SERVER_PREFERENCE);
  // Allows DHE, if ssl_ciphers contains it: groups of RFC 7919, as strong as the certificate's key.
  SSL_CTX_set_dh_auto(context.get(), 1);
  trust_clients(context.get(), settings, errors, warnings);
  auto certificates = ServerCertificates::load(context.get(), settings, errors, warnings);
  SSL_CTX_set_alpn_select_cb(context.get(), select_alpn, nullptr);
  if (!errors.empty()) return tl::unexpected(std::move(errors));
  certificates->serve(context.get());
  return std::shared_ptr<const ServerContext>(
      new ServerContext(context.release(), {settings.post_quantum, own_records, settings.keep_peer_chain},
                        std::move(certificates), std::move(warnings)));
}

ServerContext::~ServerContext() {
  SSL_CTX_free(context_);
}

}  // namespace pgveil::tls
