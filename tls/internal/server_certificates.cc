#include "tls/internal/server_certificates.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "tls/internal/certificate_values.h"
#include "tls/internal/channel_binding.h"

namespace pgveil::tls {
namespace {

using SettingErrors = std::vector<SettingError>;

void add_names(ServerNames& names, const ServerCertificate& certificate, std::size_t place,
               SettingErrors& errors) {
  const auto add_error = [&](std::string message, std::string hint) {
    errors.push_back({"server_names", std::move(message), std::move(hint), static_cast<int>(place)});
  };
  if (certificate.server_names.empty() && !names.add_default(place))
    add_error("there are two certificates without server_names", "Set server_names for all but one.");
  for (const auto& name : certificate.server_names) {
    switch (names.add(name, place)) {
      case ServerNames::Added::added: break;
      case ServerNames::Added::taken:
        add_error("there are two certificates for " + in_quotes(name), "Remove it from one of them.");
        break;
      case ServerNames::Added::malformed:
        add_error("invalid server name " + in_quotes(name), "Name a host, or a domain as \"*.example.com\".");
        break;
    }
  }
}

std::optional<OwnCertificate> load_one(const SSL_CTX* context, const ServerSettings& settings,
                                       std::size_t place, SettingErrors& errors, SettingErrors& warnings) {
  const auto& certificate = settings.certificates[place];
  const int number = static_cast<int>(place);
  if (certificate.ssl_cert_file.empty())
    errors.push_back({"ssl_cert_file", "is not set", "Name the file of the certificate.", number});
  if (certificate.ssl_key_file.empty())
    errors.push_back({"ssl_key_file", "is not set", "Name the file of the private key.", number});
  if (certificate.ssl_cert_file.empty() || certificate.ssl_key_file.empty()) return std::nullopt;
  const CertificateFiles files{
      "ssl_cert_file",
      certificate.ssl_cert_file,
      "ssl_key_file",
      certificate.ssl_key_file,
      KeyFileRule::server,
      {Passphrase::Source::command, "ssl_passphrase_command", settings.ssl_passphrase_command},
      number};
  auto loaded = load_own_certificate(context, files, errors);
  if (loaded) {
    warn_of_expiry(*loaded, files, warnings);
    warn_of_order(*loaded, files, warnings);
    warn_of_purpose(*loaded, files, Purpose::server, warnings);
  }
  return loaded;
}

}  // namespace

std::unique_ptr<ServerCertificates> ServerCertificates::load(const SSL_CTX* context,
                                                             const ServerSettings& settings,
                                                             SettingErrors& errors, SettingErrors& warnings) {
  auto certificates = std::make_unique<ServerCertificates>();
  if (settings.certificates.empty())
    errors.push_back({"ssl_cert_file", "no certificate is set", "Set ssl_cert_file and ssl_key_file."});
  for (std::size_t place = 0; place < settings.certificates.size(); ++place) {
    add_names(certificates->names_, settings.certificates[place], place, errors);
    if (auto own = load_one(context, settings, place, errors, warnings))
      certificates->own_.push_back(std::move(*own));
  }
  return certificates;
}

void ServerCertificates::serve(SSL_CTX* context) const {
  // The certificate of a new connection. choose() replaces it if a name selects another one.
  if (const auto place = names_.find("")) use(context, own_[*place]);
  if (names_.only_default()) return;
  // Does the same as SSL_CTX_set_tlsext_servername_callback() and _arg() without the macros' C casts.
  SSL_CTX_callback_ctrl(context, SSL_CTRL_SET_TLSEXT_SERVERNAME_CB, reinterpret_cast<void (*)()>(choose));
  SSL_CTX_ctrl(context, SSL_CTRL_SET_TLSEXT_SERVERNAME_ARG, 0, const_cast<ServerCertificates*>(this));
}

bool ServerCertificates::have_end_points() const {
  return std::all_of(own_.begin(), own_.end(),
                     [](const auto& own) { return server_end_point_of(own.leaf.get()).has_value(); });
}

X509* ServerCertificates::find(std::string_view sha256_fingerprint) const {
  for (const auto& own : own_)
    if (fingerprint_of(own.leaf.get()) == sha256_fingerprint) return own.leaf.get();
  return nullptr;
}

// OpenSSL calls this for each ClientHello, with or without a name. SSL_set_SSL_CTX() is the usual way, but it
// would mix the settings of two contexts: the certificate policy of one and the versions of the other. Here a
// name changes only the certificate.
int ServerCertificates::choose(SSL* ssl, int* alert, void* self) {
  const auto& certificates = *static_cast<const ServerCertificates*>(self);
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  const auto place = certificates.find_for(name == nullptr ? "" : name);
  if (!place) {
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  const auto& chosen = certificates.own_[*place];
  if (SSL_get_certificate(ssl) == chosen.leaf.get() || use(ssl, chosen)) return SSL_TLSEXT_ERR_OK;
  *alert = SSL_AD_INTERNAL_ERROR;
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

}  // namespace pgveil::tls
