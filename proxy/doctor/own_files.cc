#include "proxy/doctor/own_files.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "proxy/base/unix_peer.h"
#include "proxy/doctor/chain_review.h"
#include "tls/expiry.h"

namespace pgveil::proxy {
namespace {

std::string owner_of(uid_t user) {
  const std::string name = user_name(user);
  return name.empty() ? std::to_string(user) : name;
}

// What to do to have `wanted` instead of the certificate of this upstream. That of a role is used before sslcert.
std::string remedy_for_certificate(const UpstreamConfig& upstream, std::string_view wanted) {
  const std::filesystem::path file(upstream.tls.sslcert);
  const bool is_of_role = !upstream.role_certificates.empty() &&
                          std::filesystem::path(upstream.role_certificates) / file.filename() == file;
  if (!is_of_role) return fmt::format("Set sslcert and sslkey to {}.", wanted);
  return fmt::format("Replace {} and {} with {} and its key, and reload pgveil.", upstream.tls.sslcert,
                     upstream.tls.sslkey, wanted);
}

Step own_certificate_step(const Evidence& evidence, const tls::StoredCertificate& certificate,
                          std::int64_t now) {
  const std::string& file = evidence.upstream.tls.sslcert;
  Step step{.name = "own cert",
            .outcome = Outcome::passed,
            .text = fmt::format("{}: {}", file, summary_of(certificate, now))};
  const auto& values = certificate.values;
  const bool is_current = values.not_before <= now && now <= values.not_after;
  if (is_current && certificate.is_for_clients) return step;
  step.outcome = Outcome::failed;
  step.finding =
      is_current
          ? Finding{.side = own_side(evidence),
                    .cause = fmt::format("The certificate in {} is not for clients, by its key usage.", file),
                    .remedy =
                        remedy_for_certificate(evidence.upstream, "a certificate for clients (clientAuth)")}
          : Finding{.side = own_side(evidence),
                    .cause = fmt::format("The certificate in {} is not valid now: {}.", file,
                                         validity_text(values.not_before, values.not_after, now)),
                    .remedy = remedy_for_certificate(evidence.upstream, "a certificate that is valid")};
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

// Returns the place of the certificate whose issuer is that of `crl`, and for which the chain is refused with `failure`.
std::optional<std::size_t> refused_place(const Evidence& evidence, const tls::StoredCrl& crl,
                                         tls::Failure failure) {
  for (std::size_t i = 0; i < evidence.chain.size(); ++i)
    if (evidence.chain[i].values.issuer == crl.issuer && is_refused_for(evidence, failure, evidence.chain[i]))
      return i;
  return std::nullopt;
}

// The step fails if the chain is refused for the certificate at `refused`; otherwise it is noted.
void fail_for(Step& step, std::optional<std::size_t> refused, Reason reason) {
  step.outcome = refused ? Outcome::failed : Outcome::noted;
  step.certificate = refused;
  if (refused) step.reason = reason;
}

Step crl_step(const CrlInFile& stored, const Evidence& evidence, std::int64_t now) {
  const std::string& file = stored.file;
  const tls::StoredCrl& crl = stored.crl;
  const auto& chain = evidence.chain;
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
    fail_for(step, refused_place(evidence, crl, tls::Failure::crl_unusable), Reason::upstream_crl_unusable);
  } else if (revoked != chain.end()) {
    fail_for(step, refused_place(evidence, crl, tls::Failure::revoked), Reason::upstream_certificate_revoked);
    step.text += fmt::format("; it revokes \"{}\"", revoked->values.subject);
  } else {
    step.text += "; none of the chain";
  }
  return step;
}

Step missing_crl_step(const Evidence& evidence, std::size_t place) {
  const auto& certificate = evidence.chain[place];
  Step step{.name = "CRL",
            .text = fmt::format("there is no CRL of \"{}\", which issued \"{}\"", certificate.values.issuer,
                                certificate.values.subject)};
  const bool is_refused = is_refused_for(evidence, tls::Failure::crl_unusable, certificate);
  fail_for(step, is_refused ? std::optional(place) : std::nullopt, Reason::upstream_crl_unusable);
  return step;
}

}  // namespace

std::vector<Step> review_own_certificate(const Evidence& evidence, std::int64_t now) {
  const auto& settings = evidence.upstream.tls;
  std::vector<Step> steps;
  if (settings.sslcert.empty()) return steps;
  const auto stored = tls::read_stored_file(settings.sslcert);
  if (stored && !stored->certificates.empty())
    steps.push_back(own_certificate_step(evidence, stored->certificates.front(), now));
  if (!settings.sslkey.empty()) steps.push_back(key_step("own key", settings.sslkey));
  return steps;
}

Step key_step(std::string name, const std::string& file) {
  constexpr mode_t kModeBits = 07777;
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0)
    return {.name = std::move(name), .text = file + ": cannot be read again"};
  const auto stored = tls::read_stored_file(file);
  // It has been replaced since it was loaded.
  if (!stored || !stored->key)
    return {.name = std::move(name), .text = file + ": no longer has a key that can be loaded"};
  const std::string kind = fmt::format("{}encrypted{}", stored->key->key.empty() ? "" : "not ",
                                       stored->key->is_pem ? "" : ", in DER");
  return {.name = std::move(name),
          .outcome = Outcome::passed,
          .text = fmt::format("{}: mode {:04o}, owner {}, {}, fits the certificate", file,
                              status.st_mode & kModeBits, owner_of(status.st_uid), kind)};
}

std::vector<std::string> crl_files_of(const std::string& file, const std::string& directory) {
  std::vector<std::string> files;
  if (!directory.empty()) files = tls::crl_files_in(directory);
  if (!file.empty()) files.insert(files.begin(), file);
  return files;
}

std::vector<CrlInFile> crls_of(const tls::ClientSettings& settings) {
  std::vector<CrlInFile> crls;
  for (const auto& file : crl_files_of(settings.sslcrl, settings.sslcrldir))
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
  for (const auto& crl : crls) steps.push_back(crl_step(crl, evidence, now));
  for (std::size_t i = 0; i < evidence.chain.size(); ++i) {
    const auto& certificate = evidence.chain[i];
    const auto is_of_issuer = [&](const CrlInFile& stored) {
      return stored.crl.issuer == certificate.values.issuer;
    };
    if (!certificate.is_self_signed && std::ranges::none_of(crls, is_of_issuer))
      steps.push_back(missing_crl_step(evidence, i));
  }
  return steps;
}

}  // namespace pgveil::proxy
