#include "proxy/doctor/listener_review.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "proxy/doctor/chain_review.h"
#include "proxy/doctor/own_files.h"
#include "tls/expiry.h"

namespace pgveil::proxy {
namespace {

std::string remedy_for(const tls::Expiry& expiry) {
  if (expiry.kind == tls::Expiry::Kind::crl)
    return fmt::format("Put a current CRL of \"{}\" into {}, and reload pgveil.", expiry.subject,
                       expiry.file);
  return fmt::format("Put a renewed certificate into {}, and reload pgveil.", expiry.file);
}

// Returns the best CRL of each authority. OpenSSL does not need the others.
std::vector<tls::Expiry> best_crls_of(const tls::ServerSettings& settings, std::int64_t now) {
  std::vector<tls::Expiry> best;
  for (const std::string& file : crl_files_of(settings.ssl_crl_file, settings.ssl_crl_dir))
    for (auto& crl : tls::expiries_in(file, tls::Expiry::Kind::crl, now)) {
      const auto same = std::ranges::find(best, crl.subject, &tls::Expiry::subject);
      if (same == best.end())
        best.push_back(std::move(crl));
      else if (tls::is_better_at(now, crl, *same))
        *same = std::move(crl);
    }
  return best;
}

Step step_of(const tls::Expiry& expiry, std::int64_t now) {
  Step step{.name = std::string(tls::name_of(expiry.kind)),
            .outcome = Outcome::passed,
            .text = fmt::format("{}: \"{}\"; {}", expiry.file, expiry.subject,
                                validity_text(expiry.begins, expiry.ends, now))};
  if (tls::is_valid_at(expiry, now)) return step;
  step.outcome = Outcome::failed;
  step.finding = Finding{.side = Side::pgveil, .cause = step.text + '.', .remedy = remedy_for(expiry)};
  return step;
}

}  // namespace

ListenerReport review_listener(const ListenerConfig& listener, std::int64_t now) {
  ListenerReport report{.listener = listener.address.text(), .steps = {}};
  const auto add = [&](const std::string& file, tls::Expiry::Kind kind) {
    if (file.empty()) return;
    for (const auto& expiry : tls::expiries_in(file, kind, now)) report.steps.push_back(step_of(expiry, now));
  };
  for (const auto& certificate : listener.tls.certificates) {
    add(certificate.ssl_cert_file, tls::Expiry::Kind::certificate);
    if (!certificate.ssl_key_file.empty()) report.steps.push_back(key_step("key", certificate.ssl_key_file));
  }
  add(listener.tls.ssl_ca_file, tls::Expiry::Kind::authority);
  for (const auto& expiry : best_crls_of(listener.tls, now)) report.steps.push_back(step_of(expiry, now));
  return report;
}

}  // namespace pgveil::proxy
