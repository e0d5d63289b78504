#include "proxy/login/login_forecast.h"

#include <array>

#include "proxy/login/login_plan.h"

namespace pgveil::proxy {
namespace {

using protocol::HbaMethod;

constexpr std::array kMethods{HbaMethod::relay, HbaMethod::scram_sha_256, HbaMethod::password,
                              HbaMethod::cert,  HbaMethod::peer,          HbaMethod::trust};

constexpr const char* kNoTlsNoBinding =
    "channel_binding=require fails: without TLS there is no channel to bind.";

LoginForecast relayed(const ListenerPolicy& listener, const Upstream& upstream, bool client_has_tls) {
  const auto& config = listener.config;
  const bool server_has_tls = upstream.config.uses_tls();
  LoginForecast forecast;
  if (!client_has_tls) {
    const bool is_stripped = config.sasl_mechanisms == SaslMechanisms::strip;
    forecast.works = "The server asks the client: by SCRAM without channel binding, MD5 or a password.";
    forecast.fails = kNoTlsNoBinding;
    if (server_has_tls && !is_stripped)
      forecast.fails =
          "libpq's clients fail by SCRAM: sasl_mechanisms = \"verbatim\" shows them SCRAM-SHA-256-PLUS "
          "without TLS.";
  } else if (!server_has_tls) {
    forecast.works = "The server asks the client, by whatever method.";
    forecast.fails = "channel_binding=require fails: the server's connection has no TLS.";
  } else if (config.shared_certificate) {
    forecast.works = "The server asks the client, by whatever method, with every channel_binding.";
  } else {
    forecast.works = "The server asks the client: by MD5, a password, or SCRAM with channel_binding=disable.";
    forecast.fails =
        "SCRAM with channel_binding=prefer (the default) or require fails: TLS ends here, and the server "
        "would see "
        "another certificate than the client.";
  }
  return forecast;
}

std::string answer_of(const UpstreamConfig& upstream, HbaMethod method) {
  std::string text = allowed_methods(upstream, method).text();
  if (upstream.uses_tls() && upstream.channel_binding != protocol::ChannelBinding::disable)
    text += upstream.channel_binding == protocol::ChannelBinding::require ? ", bound to TLS"
                                                                          : ", bound to TLS if it can";
  return text;
}

LoginForecast by_scram(const ListenerPolicy& listener, const Upstream& upstream, bool client_has_tls) {
  LoginForecast forecast;
  const bool binds = client_has_tls && listener.tls && listener.tls->binds_channels();
  forecast.works = "pgveil asks the users of auth_file (" + std::to_string(listener.users.size()) +
                   ") by SCRAM (" +
                   (binds ? "every channel_binding of the client works)" : "no channel binding)") +
                   ", and logs in to the server with what they show (" +
                   answer_of(upstream.config, HbaMethod::scram_sha_256) + ").";
  if (!client_has_tls)
    forecast.fails = kNoTlsNoBinding;
  else if (!binds)
    forecast.fails =
        "channel_binding=require fails: tls-server-end-point is not defined for a certificate signed with "
        "Ed25519 "
        "or Ed448.";
  return forecast;
}

LoginForecast by_password(const Upstream& upstream) {
  return {
      .works = "pgveil asks for the password in cleartext, inside TLS, and logs in to the server with it (" +
               answer_of(upstream.config, HbaMethod::password) + ").",
      .fails =
          "channel_binding=require and require_auth without password fail: the client would not send it."};
}

LoginForecast on_behalf_of_client(const Upstream& upstream, HbaMethod method) {
  LoginForecast forecast;
  const auto& config = upstream.config;
  std::string shown;
  if (!config.role_certificates.empty())
    shown = "with the certificates of " + std::to_string(upstream.held.certificate_count()) + " roles";
  else if (!config.tls.sslcert.empty())
    shown = "with sslcert";
  if (config.holds_passwords()) {
    if (!shown.empty()) shown += " and ";
    shown += (config.passfile.empty() ? "with a password of password_command ("
                                      : "with a password of passfile (") +
             answer_of(config, method) + ')';
  }
  forecast.works = shown.empty()
                       ? "The client is not asked; the server has to take pgveil's word (trust or peer)."
                       : "The client is not asked; pgveil logs in to the server " + shown + '.';
  forecast.fails = "channel_binding=require and require_auth without none fail: the client is not asked.";
  return forecast;
}

}  // namespace

std::vector<LoginForecast> forecast_logins(const ListenerPolicy& listener, const Upstream& upstream) {
  const auto policy = listener.config.address.is_unix() ? ListenerTls::off : listener.config.tls_policy();
  std::vector<LoginForecast> forecasts;
  for (const auto method : kMethods) {
    if (!listener.rules.uses_for_server(method)) continue;
    for (const bool has_tls : {true, false}) {
      if (policy == (has_tls ? ListenerTls::off : ListenerTls::require)) continue;
      const bool needs_tls = method == HbaMethod::cert || method == HbaMethod::password;
      if (needs_tls && !has_tls) continue;
      if (method == HbaMethod::peer && has_tls) continue;
      LoginForecast forecast;
      switch (method) {
        case HbaMethod::relay: forecast = relayed(listener, upstream, has_tls); break;
        case HbaMethod::scram_sha_256: forecast = by_scram(listener, upstream, has_tls); break;
        case HbaMethod::password: forecast = by_password(upstream); break;
        default: forecast = on_behalf_of_client(upstream, method); break;
      }
      forecast.method = method;
      forecast.client_has_tls = has_tls;
      forecasts.push_back(std::move(forecast));
    }
  }
  return forecasts;
}

}  // namespace pgveil::proxy
