#include "proxy/doctor/report_json.h"

#include <nlohmann/json.hpp>
#include <string_view>

#include "proxy/doctor/chain_review.h"

namespace pgveil::proxy {
namespace {

using Json = nlohmann::ordered_json;

Json json_of(const Step& step) {
  Json json{{"name", step.name}, {"outcome", name_of(step.outcome)}, {"text", step.text}};
  json["duration_us"] = step.duration ? Json(step.duration->count()) : Json();
  json["finding"] = nullptr;
  if (step.finding)
    json["finding"] = {{"side", name_of(step.finding->side)},
                       {"cause", step.finding->cause},
                       {"remedy", step.finding->remedy}};
  return json;
}

Json json_of(const tls::StoredCertificate& certificate, std::int64_t now) {
  const tls::PeerCertificate& values = certificate.values;
  return {{"subject", values.subject},
          {"issuer", values.issuer},
          {"serial", values.serial},
          {"sha256_fingerprint", values.sha256_fingerprint},
          {"names", tls::describe(values.names)},
          {"dns_names", values.dns_names},
          {"not_before", values.not_before},
          {"not_after", values.not_after},
          {"days_left", days_left(values.not_after, now)},
          {"key", certificate.key},
          {"signature", certificate.signature},
          {"self_signed", certificate.is_self_signed},
          {"authority", certificate.is_authority},
          {"for_servers", certificate.is_for_servers},
          {"for_clients", certificate.is_for_clients},
          {"issuer_url", certificate.issuer_url.empty() ? Json() : Json(certificate.issuer_url)}};
}

Json json_of(const Verdict& verdict) {
  return {{"verified", !verdict.reason},
          {"reason", verdict.reason ? Json(describe(*verdict.reason).name) : Json()},
          {"message", verdict.message}};
}

Json json_of(const std::vector<Step>& steps) {
  Json json = Json::array();
  for (const Step& step : steps) json.push_back(json_of(step));
  return json;
}

Json json_of(const AddressReport& address) {
  return {{"address", address.address},
          {"family", address.is_ipv6 ? "IPv6" : "IPv4"},
          {"connected", address.error.empty()},
          {"error", address.error.empty() ? Json() : Json(address.error)}};
}

Json json_of(const TlsReport& tls) {
  return {{"version", tls.version},
          {"cipher", tls.cipher},
          {"group", tls.group},
          {"alpn", tls.alpn.empty() ? Json() : Json(tls.alpn)},
          {"versions", tls.versions},
          {"broken_ciphers", tls.broken_ciphers},
          {"ciphers_without_forward_secrecy", tls.ciphers_without_forward_secrecy},
          {"tickets", tls.tickets},
          {"complete", tls.is_complete}};
}

Json json_of(const SessionReport& session) {
  return {{"method", session.method},
          {"server_version", session.server_version.empty() ? Json() : Json(session.server_version)}};
}

Json json_of(const SslModeForecast& forecast) {
  return {{"mode", forecast.mode},
          {"result", name_of(forecast.result)},
          {"verifies_chain", forecast.verifies_chain},
          {"verifies_name", forecast.verifies_name},
          {"text", forecast.text},
          {"unprotected", forecast.unprotected.empty() ? Json() : Json(forecast.unprotected)}};
}

template <class T>
Json json_of_all(const std::vector<T>& values) {
  Json json = Json::array();
  for (const T& value : values) json.push_back(json_of(value));
  return json;
}

Json json_of(const ServerReport& report, std::int64_t now) {
  Json chain = Json::array();
  for (const auto& certificate : report.chain) chain.push_back(json_of(certificate, now));
  return {{"upstream", report.upstream.empty() ? Json() : Json(report.upstream)},
          {"server", report.server},
          {"steps", json_of(report.steps)},
          {"certificates", chain},
          {"verdict", json_of(report.verdict)},
          {"addresses", json_of_all(report.addresses)},
          {"answers", report.responder ? Json(name_of(*report.responder)) : Json()},
          {"tls", report.tls ? json_of(*report.tls) : Json()},
          {"session", report.session ? json_of(*report.session) : Json()},
          {"sslmodes", json_of_all(report.sslmodes)}};
}

}  // namespace

std::string report_json(const Report& report, std::int64_t now) {
  Json servers = Json::array(), listeners = Json::array();
  for (const ServerReport& server : report.servers) servers.push_back(json_of(server, now));
  for (const ListenerReport& listener : report.listeners)
    listeners.push_back({{"listener", listener.listener}, {"steps", json_of(listener.steps)}});
  const Json json{{"schema", 1}, {"servers", servers}, {"listeners", listeners}};
  return json.dump(2, ' ', true, Json::error_handler_t::replace) + '\n';
}

}  // namespace pgveil::proxy
