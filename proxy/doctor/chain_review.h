// The chain that a server has sent, as it is: in order or not, complete or not. Nothing is verified here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tls/stored_credentials.h"

namespace pgveil::proxy {

struct ChainReview {
  // Each certificate is followed by that of its issuer, as TLS requires.
  bool is_in_order = true;
  // The subject of the first issuer, from the server's certificate on, whose certificate was not sent. It is a root that the
  // client must have, or a missing intermediate authority. Empty: the chain ends with a self-signed certificate.
  std::string missing_issuer;
  std::string issuer_url;  // where its certificate can be fetched; may be empty
  // The chain ends with the self-signed certificate of an authority, which a client must have anyhow.
  bool has_root = false;
};
[[nodiscard]] ChainReview review_chain(const std::vector<tls::StoredCertificate>& chain);

// Returns one line about a certificate; `now` is in seconds since 1970.
[[nodiscard]] std::string summary_of(const tls::StoredCertificate& certificate, std::int64_t now);
// Returns one line about the chain as a whole.
[[nodiscard]] std::string summary_of(const ChainReview& review, std::size_t size);

// Returns the full days from `now` to `end`; negative: the days since then. Times are in seconds since 1970.
[[nodiscard]] std::int64_t days_left(std::int64_t end, std::int64_t now);
// Returns for example "89 days left", or "expired on 2026-01-31 12:00:00 UTC".
[[nodiscard]] std::string validity_text(std::int64_t begin, std::int64_t end, std::int64_t now);

}  // namespace pgveil::proxy
