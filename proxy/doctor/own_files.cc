#include "proxy/doctor/own_files.h"

#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "proxy/doctor/chain_review.h"
#include "tls/expiry.h"

namespace pgveil::proxy {
namespace {

std::string owner_of(uid_t user) {
  constexpr std::size_t kRoom = 4096;
  std::array<char, kRoom> room{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(user, &entry, room.data(), room.size(), &found) == 0 && found != nullptr)
    return entry.pw_name;
  return std::to_string(user);
}

Step key_step(const std::string& file) {
  constexpr mode_t kModeBits = 07777;
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return {.name = "own key", .text = file + ": cannot be read again"};
  const auto stored = tls::read_stored_file(file);
  const bool is_pem = stored && stored->key;
  const bool is_encrypted = is_pem && stored->key->key.empty();
  const std::string kind = is_encrypted ? "encrypted" : is_pem ? "not encrypted" : "in DER";
  return {.name = "own key",
          .outcome = Outcome::passed,
          .text = fmt::format("{}: mode {:04o}, owner {}, {}, fits the certificate", file,
                              status.st_mode & kModeBits, owner_of(status.st_uid), kind)};
}

Step certificate_step(const std::string& file, const tls::StoredCertificate& certificate, Side side,
                      std::int64_t now) {
  Step step{.name = "own cert",
            .outcome = Outcome::passed,
            .text = fmt::format("{}: {}", file, summary_of(certificate, now))};
  const auto& values = certificate.values;
  const bool is_current = values.not_before <= now && now <= values.not_after;
  if (is_current && certificate.is_for_clients) return step;
  step.outcome = Outcome::failed;
  step.finding =
      is_current
          ? Finding{.side = side,
                    .cause = fmt::format("The certificate in {} is not for clients, by its key usage.", file),
                    .remedy = "Set sslcert and sslkey to a certificate for clients (clientAuth)."}
          : Finding{.side = side,
                    .cause = fmt::format("The certificate in {} is not valid now: {}.", file,
                                         validity_text(values.not_before, values.not_after, now)),
                    .remedy = "Set sslcert and sslkey to a certificate that is valid."};
  return step;
}

bool revokes(const tls::StoredCrl& crl, const tls::StoredCertificate& certificate) {
  return crl.issuer == certificate.values.issuer &&
         std::ranges::any_of(
             crl.revoked, [&](const auto& revoked) { return revoked.serial == certificate.values.serial; });
}

bool is_current(const tls::StoredCrl& crl, std::int64_t now) {
  return crl.this_update <= now && (!crl.next_update || now <= *crl.next_update);
}

std::string validity_of(const tls::StoredCrl& crl, std::int64_t now) {
  if (!crl.next_update) return "without an end";
  return validity_text(crl.this_update, *crl.next_update, now);
}

Step crl_step(const CrlInFile& stored, const std::vector<tls::StoredCertificate>& chain, std::int64_t now) {
  const std::string& file = stored.file;
  const tls::StoredCrl& crl = stored.crl;
  const auto is_of = [&](const auto& certificate) { return certificate.values.issuer == crl.issuer; };
  Step step{.name = "CRL",
            .outcome = Outcome::passed,
            .text = fmt::format("{}: of \"{}\", {}, {} revoked", file, crl.issuer, validity_of(crl, now),
                                crl.revoked.size())};
  if (std::ranges::none_of(chain, is_of)) {
    step.outcome = Outcome::noted;
    step.text += "; of no authority in the chain";
    return step;
  }
  const auto revoked =
      std::ranges::find_if(chain, [&](const auto& certificate) { return revokes(crl, certificate); });
  if (!is_current(crl, now)) {
    step.outcome = Outcome::failed;
    step.reason = Reason::upstream_crl_unusable;
  } else if (revoked != chain.end()) {
    step.outcome = Outcome::failed;
    step.reason = Reason::upstream_certificate_revoked;
    step.text += fmt::format("; it revokes \"{}\"", revoked->values.subject);
  } else {
    step.text += "; none of the chain";
  }
  return step;
}

}  // namespace

std::vector<Step> review_own_certificate(const Evidence& evidence, std::int64_t now) {
  const auto& settings = evidence.upstream.tls;
  std::vector<Step> steps;
  if (settings.sslcert.empty()) return steps;
  const auto stored = tls::read_stored_file(settings.sslcert);
  if (stored && !stored->certificates.empty())
    steps.push_back(
        certificate_step(settings.sslcert, stored->certificates.front(), own_side(evidence), now));
  if (!settings.sslkey.empty()) steps.push_back(key_step(settings.sslkey));
  return steps;
}

std::vector<CrlInFile> crls_of(const tls::ClientSettings& settings) {
  std::vector<std::string> files;
  if (!settings.sslcrl.empty()) files.push_back(settings.sslcrl);
  if (!settings.sslcrldir.empty())
    for (auto& file : tls::crl_files_in(settings.sslcrldir)) files.push_back(std::move(file));
  std::vector<CrlInFile> crls;
  for (const auto& file : files)
    if (auto stored = tls::read_stored_file(file))
      for (auto& crl : stored->crls) crls.push_back({file, std::move(crl)});
  return crls;
}

std::vector<Step> review_crls(const std::vector<CrlInFile>& crls, const Evidence& evidence,
                              std::int64_t now) {
  std::vector<Step> steps;
  const auto& settings = evidence.upstream.tls;
  const bool has_crls = !settings.sslcrl.empty() || !settings.sslcrldir.empty();
  if (!has_crls || evidence.chain.empty()) return steps;
  for (const auto& crl : crls) steps.push_back(crl_step(crl, evidence.chain, now));
  for (const auto& certificate : evidence.chain) {
    const auto is_of_issuer = [&](const CrlInFile& stored) {
      return stored.crl.issuer == certificate.values.issuer;
    };
    if (certificate.is_self_signed || std::ranges::any_of(crls, is_of_issuer)) continue;
    steps.push_back({.name = "CRL",
                     .outcome = Outcome::failed,
                     .text = fmt::format("there is no CRL of \"{}\", which issued \"{}\"",
                                         certificate.values.issuer, certificate.values.subject),
                     .reason = Reason::upstream_crl_unusable});
  }
  return steps;
}

}  // namespace pgveil::proxy
