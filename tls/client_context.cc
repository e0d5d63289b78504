#include "tls/client_context.h"

#include "tls/internal/chain_check.h"
#include "tls/internal/handshake_settings.h"
#include "tls/internal/key_shares.h"
#include "tls/internal/openssl.h"
#include "tls/internal/own_certificate.h"
#include "tls/internal/policy.h"
#include "tls/internal/traffic_secrets.h"
#include "tls/internal/trust.h"

namespace pgveil::tls {
namespace {

using SettingErrors = std::vector<SettingError>;

// Returns the wire format: each name after its length.
std::string alpn_protocols() {
  return std::string(1, static_cast<char>(kAlpnProtocol.size())) + std::string(kAlpnProtocol);
}

CertificateFiles client_files(const std::string& sslcert, const std::string& sslkey,
                              std::string_view sslpassword) {
  return {"sslcert",          sslcert,
          "sslkey",           sslkey,
          KeyFileRule::libpq, {Passphrase::Source::setting, "sslpassword", sslpassword}};
}

}  // namespace

ClientContext::ClientContext(ssl_ctx_st* context, Rules rules, std::shared_ptr<KeyShares> key_shares,
                             std::unique_ptr<const OwnCertificate> own, std::vector<SettingError> warnings)
    : context_(context),
      rules_(rules),
      key_shares_(std::move(key_shares)),
      own_(std::move(own)),
      warnings_(std::move(warnings)) {}

tl::expected<std::shared_ptr<const ClientContext>, std::vector<SettingError>> ClientContext::build(
    const ClientSettings& settings) {
  SslContext context(SSL_CTX_new(TLS_client_method()));
  if (!context)
    return tl::unexpected(SettingErrors{{"sslrootcert", "TLS cannot be used: " + take_openssl_error(), ""}});
  SettingErrors errors;
  SettingErrors warnings;
  set_handshake(context.get(), settings, errors, warnings);
  const bool own_records = choose_records(settings.records).own;
  if (own_records) tell_traffic_secrets(context.get());
  trust_servers_of(context.get(), settings.sslrootcert, errors, warnings);
  load_crls(context.get(), {"sslcrl", settings.sslcrl, "sslcrldir", settings.sslcrldir}, errors, warnings);
  if (settings.sslcert.empty() != settings.sslkey.empty()) {
    errors.push_back({settings.sslcert.empty() ? "sslcert" : "sslkey", "sslcert and sslkey go together",
                      "Set both, or neither if the server does not ask for a client certificate."});
  } else if (!settings.sslcert.empty()) {
    const auto files = client_files(settings.sslcert, settings.sslkey, settings.sslpassword);
    if (const auto own = load_own_certificate(context.get(), files, errors)) {
      warn_of_unused_passphrase(*own, files, warnings);
      warn_of_expiry(*own, files, warnings);
      warn_of_order(*own, files, warnings);
      warn_of_purpose(*own, files, Purpose::client, warnings);
      use(context.get(), *own);
    }
  }
  const std::string protocols = alpn_protocols();
  SSL_CTX_set_alpn_protos(context.get(), reinterpret_cast<const unsigned char*>(protocols.data()),
                          static_cast<unsigned>(protocols.size()));
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  if (!errors.empty()) return tl::unexpected(std::move(errors));
  auto key_shares = std::make_shared<KeyShares>(context.get());
  return std::shared_ptr<const ClientContext>(new ClientContext(
      context.release(),
      {settings.certificate_common_name, settings.post_quantum, own_records, settings.keep_peer_chain},
      std::move(key_shares), nullptr, std::move(warnings)));
}

tl::expected<std::shared_ptr<const ClientContext>, std::vector<SettingError>> ClientContext::with_certificate(
    const std::string& sslcert, const std::string& sslkey, std::string_view sslpassword) const {
  SettingErrors errors;
  SettingErrors warnings;
  const auto files = client_files(sslcert, sslkey, sslpassword);
  auto own = load_own_certificate(context_, files, errors);
  if (!own) return tl::unexpected(std::move(errors));
  warn_of_expiry(*own, files, warnings);
  warn_of_order(*own, files, warnings);
  warn_of_purpose(*own, files, Purpose::client, warnings);
  auto kept = std::make_unique<const OwnCertificate>(std::move(*own));
  SSL_CTX_up_ref(context_);
  return std::shared_ptr<const ClientContext>(
      new ClientContext(context_, rules_, key_shares_, std::move(kept), std::move(warnings)));
}

std::optional<FailureReport> ClientContext::verify(const PeerChain& server, const std::string& host) const {
  const ExpectedServer expected{.host = host, .common_name = rules_.common_name};
  return check_chain(context_, server, &expected);
}

ClientContext::~ClientContext() {
  SSL_CTX_free(context_);
}

}  // namespace pgveil::tls
