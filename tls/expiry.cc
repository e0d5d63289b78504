#include "tls/expiry.h"

#include <openssl/err.h>
#include <openssl/x509.h>

#include <algorithm>
#include <utility>

#include "tls/internal/certificate_values.h"
#include "tls/internal/file_content.h"
#include "tls/internal/openssl.h"
#include "tls/internal/trust.h"

namespace pgveil::tls {
namespace {

void add(std::vector<Expiry>& to, std::optional<std::int64_t> now, Expiry expiry) {
  const auto same = std::ranges::find_if(
      to, [&](const Expiry& other) { return other.kind == expiry.kind && other.subject == expiry.subject; });
  if (same == to.end()) {
    to.push_back(std::move(expiry));
    return;
  }
  const auto is_certificate = [](const Expiry& other) { return other.kind == Expiry::Kind::certificate; };
  const bool is_shown_to_peers = is_certificate(expiry) && same == std::ranges::find_if(to, is_certificate);
  const bool is_better = now ? is_better_at(*now, expiry, *same) : same->ends < expiry.ends;
  if (is_better && !is_shown_to_peers) *same = std::move(expiry);
}

}  // namespace

std::string_view name_of(Expiry::Kind kind) {
  switch (kind) {
    case Expiry::Kind::certificate: return "certificate";
    case Expiry::Kind::authority: return "authority";
    case Expiry::Kind::crl: return "crl";
  }
  return "?";
}

bool expires_soon(const Expiry& expiry, std::int64_t now, std::chrono::seconds notice) {
  const std::int64_t third = (expiry.ends - expiry.begins) / 3;
  return expiry.ends - now < std::min<std::int64_t>(notice.count(), third);
}

Expiry expiry_of(const PeerCertificate& certificate) {
  return {.file = "",
          .kind = Expiry::Kind::certificate,
          .subject = certificate.subject,
          .begins = certificate.not_before,
          .ends = certificate.not_after};
}

bool is_valid_at(const Expiry& expiry, std::int64_t now) {
  return expiry.begins <= now && now <= expiry.ends;
}

bool is_better_at(std::int64_t now, const Expiry& one, const Expiry& other) {
  const bool is_valid = is_valid_at(one, now);
  return is_valid == is_valid_at(other, now) ? one.ends > other.ends : is_valid;
}

std::vector<Expiry> expiries_in(const std::string& file, Expiry::Kind kind, std::optional<std::int64_t> now) {
  std::vector<Expiry> expiries;
  const auto content = FileContent::read(file);
  if (!content) return expiries;
  const Infos infos = content->infos();
  ERR_clear_error();
  for (int i = 0; infos && i < sk_X509_INFO_num(infos.get()); ++i) {
    const X509_INFO* info = sk_X509_INFO_value(infos.get(), i);
    if (info->x509 != nullptr)
      add(expiries, now,
          {.file = file,
           .kind = kind,
           .subject = name_text(X509_get_subject_name(info->x509)),
           .begins = seconds_since_1970(X509_get0_notBefore(info->x509)),
           .ends = seconds_since_1970(X509_get0_notAfter(info->x509))});
    if (info->crl == nullptr || X509_CRL_get0_nextUpdate(info->crl) == nullptr) continue;
    add(expiries, now,
        {.file = file,
         .kind = Expiry::Kind::crl,
         .subject = name_text(X509_CRL_get_issuer(info->crl)),
         .begins = seconds_since_1970(X509_CRL_get0_lastUpdate(info->crl)),
         .ends = seconds_since_1970(X509_CRL_get0_nextUpdate(info->crl))});
  }
  return expiries;
}

std::vector<std::string> crl_files_in(const std::string& directory) {
  return hashed_crls(directory);
}

}  // namespace pgveil::tls
