#include "proxy/doctor/sslmode_forecast.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "proxy/doctor/name_review.h"

namespace pgveil::proxy {
namespace {

using Answer = protocol::UpstreamGreeting::Answer;
using Result = SslModeForecast::Result;

constexpr std::array<std::string_view, 6> kModes{"disable", "allow",     "prefer",
                                                 "require", "verify-ca", "verify-full"};

// How one way to connect would end.
struct Attempt {
  Result result = Result::fails;
  std::string why;  // it fails, or is not known
};

struct Checks {
  bool chain = false;
  bool name = false;
};

class Forecast {
 public:
  Forecast(const Evidence& evidence, const Verdict& verdict, const LoginReplies& replies)
      : evidence_(evidence), verdict_(verdict), replies_(replies) {}

  [[nodiscard]] SslModeForecast of(const std::string& mode) const;

 private:
  [[nodiscard]] bool has_root_file() const { return evidence_.upstream.tls.sslrootcert != tls::kSystemTrust; }
  [[nodiscard]] bool is_direct() const { return evidence_.upstream.sslnegotiation == SslNegotiation::direct; }
  [[nodiscard]] Attempt with_tls(Checks checks) const;
  [[nodiscard]] std::optional<std::string> fault_with_tls(Checks checks) const;
  [[nodiscard]] std::optional<std::string> tls_fault() const;
  [[nodiscard]] Attempt without_tls() const;
  [[nodiscard]] SslModeForecast from(const std::string& mode, const Attempt& attempt, Checks checks) const;
  [[nodiscard]] SslModeForecast allow() const;
  [[nodiscard]] SslModeForecast prefer() const;

  const Evidence& evidence_;
  const Verdict& verdict_;
  const LoginReplies& replies_;
};

// libpq requires TLS 1.2 by default.
bool has_current_version(const ServerSurvey& survey) {
  if (!survey.handshake || !survey.handshake->server) return false;
  const auto& accepted = survey.versions.accepted;
  return survey.handshake->server->agreed.version >= "TLSv1.2" ||
         (!accepted.empty() && accepted.back() >= tls::Version::tls1_2);
}

// Returns why no TLS connection can be established, whatever is verified; nullopt: it can.
std::optional<std::string> Forecast::tls_fault() const {
  const ServerSurvey& survey = evidence_.survey;
  if (survey.connected() == nullptr) return verdict_.message;
  if (survey.greeting && survey.greeting->answer == Answer::refused) return "the server has no TLS";
  if (survey.greeting && survey.greeting->answer != Answer::accepted) return verdict_.message;
  if (!survey.handshake || !survey.handshake->server)
    return "the TLS handshake fails: " + (survey.handshake ? survey.handshake->error : verdict_.message);
  if (!has_current_version(survey)) return "the server has no TLS 1.2 or newer";
  if (is_direct() && survey.handshake->server->protocol != tls::kAlpnProtocol)
    return "the server does not agree on ALPN postgresql";
  if (survey.handshake->server->requires_certificate && evidence_.upstream.tls.sslcert.empty())
    return "the server requires a client certificate";
  if (verdict_.reason == Reason::upstream_rejected_certificate) return verdict_.message;
  return std::nullopt;
}

// A session that verifies the server does what verify-full does, and each other mode checks less.
Attempt Forecast::with_tls(Checks checks) const {
  if (verdict_.reason)
    if (auto why = fault_with_tls(checks)) return {.result = Result::fails, .why = *std::move(why)};
  if (replies_.over_tls && replies_.over_tls->refusal)
    return {.result = Result::fails,
            .why = "the server refuses the login with SQLSTATE " + replies_.over_tls->refusal->sqlstate};
  return {.result = Result::tls, .why = {}};
}

// Returns why a TLS connection with these checks cannot be established; nullopt: it can.
std::optional<std::string> Forecast::fault_with_tls(Checks checks) const {
  if (auto fault = tls_fault()) return fault;
  const auto& refusal = evidence_.refusal;
  if (checks.chain && refusal && refusal->failure != tls::Failure::wrong_name)
    return "the certificate is not valid: " + refusal->reason;
  if (checks.name && !evidence_.chain.empty()) {
    const std::string& host = evidence_.upstream.hosts.front().host;
    const auto& names = evidence_.chain.front().values.names;
    if (!review_names(host, names, evidence_.upstream.tls.certificate_common_name).matches)
      return "the certificate is not for the host";
  }
  return std::nullopt;
}

Attempt Forecast::without_tls() const {
  const bool is_connected = evidence_.survey.connected() != nullptr;
  if (!is_connected && verdict_.reason) return {.result = Result::fails, .why = verdict_.message};
  if (!replies_.in_plaintext)
    return {.result = Result::unknown,
            .why = is_connected ? "no login was tried: give --user" : "the first connection failed"};
  const LoginReply& reply = *replies_.in_plaintext;
  if (reply.asked) return {.result = Result::plaintext, .why = {}};
  if (reply.refusal)
    return {.result = Result::fails,
            .why = "the server refuses the login without TLS with SQLSTATE " + reply.refusal->sqlstate};
  return {.result = Result::fails, .why = "without TLS: " + reply.error};
}

// Returns what a connection in this mode is not protected against; empty: nothing.
std::string unprotected_by(std::string_view mode, Result result, Checks checks) {
  if (result != Result::tls) return "eavesdropping, changed data and a false server";
  if (mode == "allow" || mode == "prefer")
    return "eavesdropping, changed data and a false server: an attacker on the network can have TLS left out";
  if (!checks.chain) return "a false server: nobody verifies its certificate";
  if (!checks.name) return "a false server that has a certificate of the same authority for another name";
  return "";
}

SslModeForecast Forecast::from(const std::string& mode, const Attempt& attempt, Checks checks) const {
  SslModeForecast forecast{.mode = mode, .result = attempt.result, .text = {}, .unprotected = {}};
  if (attempt.result == Result::fails) {
    forecast.text = "does not connect: " + attempt.why;
    return forecast;
  }
  forecast.verifies_chain = attempt.result == Result::tls && checks.chain;
  forecast.verifies_name = attempt.result == Result::tls && checks.name;
  forecast.unprotected = unprotected_by(mode, attempt.result, checks);
  switch (attempt.result) {
    case Result::tls: forecast.text = "connects over TLS"; break;
    case Result::plaintext: forecast.text = "connects without TLS"; break;
    case Result::fails: break;
    case Result::unknown:
      forecast.text = "connects without TLS if the server admits it (" + attempt.why + ")";
      break;
  }
  return forecast;
}

SslModeForecast Forecast::allow() const {
  const Checks checks{.chain = has_root_file()};
  const Attempt plain = without_tls();
  if (plain.result == Result::plaintext) return from("allow", plain, {});
  const Attempt encrypted = with_tls(checks);
  if (plain.result != Result::unknown || encrypted.result == Result::fails)
    return from("allow", plain.result == Result::unknown ? plain : encrypted, checks);
  SslModeForecast forecast = from("allow", plain, {});
  forecast.text += ", otherwise over TLS";
  return forecast;
}

SslModeForecast Forecast::prefer() const {
  const Checks checks{.chain = has_root_file()};
  const Attempt encrypted = with_tls(checks);
  if (encrypted.result == Result::tls) return from("prefer", encrypted, checks);
  SslModeForecast forecast = from("prefer", without_tls(), {});
  forecast.text += fmt::format(" (over TLS it does not: {})", encrypted.why);
  return forecast;
}

SslModeForecast Forecast::of(const std::string& mode) const {
  const bool is_weak = mode == "disable" || mode == "allow" || mode == "prefer";
  if (is_direct() && is_weak)
    return from(
        mode, {.result = Result::fails, .why = "libpq takes sslnegotiation=direct with require or more"}, {});
  if (mode == "disable") return from(mode, without_tls(), {});
  if (mode == "allow") return allow();
  if (mode == "prefer") return prefer();
  if (mode == "require") {
    const Checks checks{.chain = has_root_file()};
    return from(mode, with_tls(checks), checks);
  }
  if (mode == "verify-ca" && !has_root_file())
    return from(mode,
                {.result = Result::fails, .why = "libpq takes sslrootcert=system with verify-full only"}, {});
  const Checks checks{.chain = true, .name = mode == "verify-full"};
  return from(mode, with_tls(checks), checks);
}

}  // namespace

std::vector<std::string> sslmode_names() {
  return {kModes.begin(), kModes.end()};
}

std::vector<SslModeForecast> forecast_sslmodes(const std::vector<std::string>& modes,
                                               const Evidence& evidence, const Verdict& verdict,
                                               const LoginReplies& replies) {
  const Forecast forecast(evidence, verdict, replies);
  std::vector<SslModeForecast> forecasts;
  forecasts.reserve(modes.size());
  for (const auto& mode : modes) forecasts.push_back(forecast.of(mode));
  return forecasts;
}

}  // namespace pgveil::proxy
