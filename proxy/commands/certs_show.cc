#include "proxy/commands/certs_show.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "protocol/hba.h"
#include "proxy/access/identity.h"
#include "proxy/commands/terminal_table.h"
#include "tls/host_name.h"

namespace pgveil::proxy {
namespace {

using Json = nlohmann::ordered_json;
using Name = protocol::CertificateName;

constexpr std::array<std::pair<std::string_view, Name>, 6> kMappableNames{
    {{"CN", Name::common_name},
     {"DN", Name::distinguished_name},
     {"URI", Name::uri},
     {"DNS", Name::dns},
     {"EMAIL", Name::email},
     {"FINGERPRINT", Name::fingerprint}}};

std::int64_t days_until(std::int64_t time, std::int64_t now) {
  constexpr std::int64_t kDay = 86'400;
  return time > now ? (time - now) / kDay : -((now - time) / kDay);
}

std::string time_left(std::int64_t begins, std::int64_t ends, std::int64_t now) {
  if (now < begins) return "not valid yet";
  const std::int64_t days = days_until(ends, now);
  if (now > ends) return fmt::format("expired {} days ago", -days);
  return fmt::format("{} day{} left", days, days == 1 ? "" : "s");
}

std::string kind_of(const tls::StoredCertificate& certificate) {
  std::string peer = certificate.is_for_servers ? "server" : "";
  if (certificate.is_for_clients) peer += peer.empty() ? "client" : " and client";
  if (certificate.is_authority) return peer.empty() ? "authority" : "authority, " + peer;
  return peer.empty() ? "neither server nor client" : peer;
}

// The settings of PostgreSQL, libpq and pgveil that can name the file.
std::vector<std::string> uses_of(const tls::StoredCertificate& certificate) {
  std::vector<std::string> uses;
  if (certificate.is_authority)
    uses = {"ssl_ca_file: accepts clients with its certificates",
            "sslrootcert: trusts servers with its certificates"};
  if (certificate.is_for_servers)
    uses.push_back("ssl_cert_file: a server for " + tls::describe(certificate.values.names));
  if (certificate.is_for_clients) uses.emplace_back("sslcert: a client");
  return uses;
}

// A listener compares names with rules only for certificates of clients.
std::vector<std::pair<std::string_view, std::string>> mappable_names(
    const tls::StoredCertificate& certificate) {
  std::vector<std::pair<std::string_view, std::string>> names;
  if (!certificate.is_for_clients) return names;
  for (const auto& [key, name] : kMappableNames)
    for (const std::string& value : system_users(certificate.values, name)) names.emplace_back(key, value);
  return names;
}

std::string row(std::string_view key, std::string_view value) {
  return fmt::format("  {:<23}  {}\n", key, value);
}

std::string text_of(const tls::StoredCertificate& certificate, std::int64_t now) {
  const tls::PeerCertificate& values = certificate.values;
  std::string text = row("certificate", kind_of(certificate));
  for (const std::string& use : uses_of(certificate)) text += row("good for", use);
  text += row("subject", values.subject.empty() ? "(empty)" : values.subject);
  text += row("issuer", certificate.is_self_signed ? "itself" : values.issuer);
  text += row("valid",
              fmt::format("{} to {}, {}", tls::utc_text(values.not_before), tls::utc_text(values.not_after),
                          time_left(values.not_before, values.not_after, now)));
  text += row("key", fmt::format("{}, signed with {}", certificate.key, certificate.signature));
  text += row("serial", values.serial);
  if (certificate.is_for_servers && !certificate.gives_channel_binding)
    text += row("channel binding", "not defined for this signature: SCRAM over TLS fails with libpq");
  for (const auto& [name, value] : mappable_names(certificate))
    text += row(fmt::format("clientname={}", name), value);
  return text;
}

std::string text_of(const tls::StoredCrl& crl, std::int64_t now) {
  std::string text = row("CRL", fmt::format("{} revoked", crl.revoked.size()));
  text += row("good for", "ssl_crl_file, sslcrl: refuses these certificates of its issuer");
  text += row("issuer", crl.issuer);
  if (crl.number) text += row("number", *crl.number);
  text += row("valid",
              fmt::format("{} to {}", tls::utc_text(crl.this_update),
                          crl.next_update ? fmt::format("{}, {}", tls::utc_text(*crl.next_update),
                                                        time_left(crl.this_update, *crl.next_update, now))
                                          : "no end"));
  for (const auto& [serial, time] : crl.revoked)
    text += row("revoked", fmt::format("{} on {}", serial, tls::utc_text(time)));
  return text;
}

std::string text_of(const tls::StoredKey& key) {
  std::string text = row("private key", key.key.empty() ? "encrypted" : key.key);
  text += row("good for", "ssl_key_file, sslkey");
  if (key.fault) text += row("error", key.fault->message) + row("hint", key.fault->hint);
  return text;
}

Json json_of(const tls::StoredCertificate& certificate, std::int64_t now) {
  const tls::PeerCertificate& values = certificate.values;
  Json names = Json::array();
  for (const auto& [name, value] : mappable_names(certificate))
    names.push_back({{"clientname", name}, {"value", value}});
  return {{"kind", kind_of(certificate)},
          {"good_for", uses_of(certificate)},
          {"subject", values.subject},
          {"issuer", values.issuer},
          {"serial", values.serial},
          {"sha256_fingerprint", values.sha256_fingerprint},
          {"key", certificate.key},
          {"signature", certificate.signature},
          {"not_before", values.not_before},
          {"not_after", values.not_after},
          {"days_left", days_until(values.not_after, now)},
          {"channel_binding", certificate.gives_channel_binding},
          {"names", names}};
}

Json json_of(const tls::StoredCrl& crl, std::int64_t now) {
  Json revoked = Json::array();
  for (const auto& [serial, time] : crl.revoked) revoked.push_back({{"serial", serial}, {"time", time}});
  return {{"issuer", crl.issuer},
          {"number", crl.number ? Json(*crl.number) : Json()},
          {"this_update", crl.this_update},
          {"next_update", crl.next_update ? Json(*crl.next_update) : Json()},
          {"days_left", crl.next_update ? Json(days_until(*crl.next_update, now)) : Json()},
          {"revoked", revoked}};
}

Json json_of(const ShownFile& shown, std::int64_t now) {
  const auto& [path, file] = shown;
  Json certificates = Json::array(), crls = Json::array();
  for (const auto& certificate : file.certificates) certificates.push_back(json_of(certificate, now));
  for (const auto& crl : file.crls) crls.push_back(json_of(crl, now));
  Json json{{"file", path}, {"certificates", certificates}, {"crls", crls}, {"key", nullptr}};
  if (file.key)
    json["key"] = {{"key", file.key->key.empty() ? Json() : Json(file.key->key)},
                   {"encrypted", file.key->key.empty()},
                   {"error", file.key->fault ? Json(file.key->fault->message) : Json()}};
  return json;
}

}  // namespace

std::string certs_text(const std::vector<ShownFile>& files, std::int64_t now) {
  std::string text;
  for (const auto& [path, file] : files) {
    if (!text.empty()) text += '\n';
    text += path + '\n';
    for (const auto& certificate : file.certificates) text += text_of(certificate, now);
    for (const auto& crl : file.crls) text += text_of(crl, now);
    if (file.key) text += text_of(*file.key);
  }
  return printable_lines(text);
}

std::string certs_json(const std::vector<ShownFile>& files, std::int64_t now) {
  Json shown = Json::array();
  for (const ShownFile& file : files) shown.push_back(json_of(file, now));
  return Json{{"schema", 1}, {"files", shown}}.dump(2, ' ', true, Json::error_handler_t::replace) + '\n';
}

}  // namespace pgveil::proxy
