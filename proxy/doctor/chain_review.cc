#include "proxy/doctor/chain_review.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "tls/host_name.h"

namespace pgveil::proxy {
namespace {

using Chain = std::vector<tls::StoredCertificate>;

// Returns the certificate of the issuer; null: it is not in the chain.
const tls::StoredCertificate* issuer_in(const Chain& chain, const tls::StoredCertificate& certificate) {
  const auto is_issuer = [&](const tls::StoredCertificate& other) {
    return &other != &certificate && other.values.subject == certificate.values.issuer;
  };
  const auto found = std::ranges::find_if(chain, is_issuer);
  return found == chain.end() ? nullptr : &*found;
}

// By basic constraints, key usage and extended key usage.
std::string_view purpose_of(const tls::StoredCertificate& certificate) {
  if (certificate.is_authority) return "an authority";
  if (certificate.is_for_servers)
    return certificate.is_for_clients ? "for servers and clients" : "for servers";
  return certificate.is_for_clients ? "for clients" : "neither for servers nor for clients";
}

bool is_in_order(const Chain& chain) {
  for (std::size_t i = 0; i + 1 < chain.size(); ++i)
    if (chain[i].values.issuer != chain[i + 1].values.subject) return false;
  return true;
}

}  // namespace

std::int64_t days_left(std::int64_t end, std::int64_t now) {
  constexpr std::int64_t kDay = 86'400;
  return end >= now ? (end - now) / kDay : -((now - end) / kDay);
}

std::string validity_text(std::int64_t begin, std::int64_t end, std::int64_t now) {
  if (now < begin) return "valid from " + tls::utc_text(begin);
  if (now > end) return "expired on " + tls::utc_text(end);
  const std::int64_t days = days_left(end, now);
  return fmt::format("{} day{} left", days, days == 1 ? "" : "s");
}

ChainReview review_chain(const Chain& chain) {
  ChainReview review{.is_in_order = is_in_order(chain), .missing_issuer = {}, .issuer_url = {}};
  if (chain.empty()) return review;
  const tls::StoredCertificate* last = &chain.front();
  // A chain can be a circle: no more steps than certificates.
  for (std::size_t steps = 0; steps < chain.size() && !last->is_self_signed; ++steps) {
    const auto* issuer = issuer_in(chain, *last);
    if (issuer == nullptr) {
      review.missing_issuer = last->values.issuer;
      review.issuer_url = last->issuer_url;
      return review;
    }
    last = issuer;
  }
  review.has_root = last->is_self_signed && last != &chain.front();
  return review;
}

std::string summary_of(const tls::StoredCertificate& certificate, std::int64_t now) {
  const tls::PeerCertificate& values = certificate.values;
  std::string text = fmt::format("\"{}\", issued by {}", values.subject,
                                 certificate.is_self_signed ? "itself" : '"' + values.issuer + '"');
  if (!certificate.is_authority || certificate.is_for_servers)
    text += "; names " + tls::describe(values.names);
  return text + fmt::format("; {}; {}, {}; {}", validity_text(values.not_before, values.not_after, now),
                            certificate.key, certificate.signature, purpose_of(certificate));
}

std::string summary_of(const ChainReview& review, std::size_t size) {
  std::string text = fmt::format("{} certificate{}", size, size == 1 ? "" : "s");
  if (!review.is_in_order) text += "; not in the order of their issuers";
  if (review.has_root)
    text += "; the root was sent too, which is not necessary";
  else if (review.missing_issuer.empty())
    text += "; self-signed";
  else
    text += fmt::format("; the certificate of \"{}\"{} was not sent, so sslrootcert must have it",
                        review.missing_issuer,
                        review.issuer_url.empty() ? "" : " (at " + review.issuer_url + ")");
  return text;
}

}  // namespace pgveil::proxy
