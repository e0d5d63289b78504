// How a chain is checked against CRLs beyond what OpenSSL does by itself: no further CRL makes a revoked
// certificate acceptable. For the .cc files of this layer only.
#pragma once

#include "tls/internal/openssl.h"

namespace pgveil::tls {

// Has each certificate of a chain checked against the CRLs of `store`, those that it looks up later included.
//
// - OpenSSL picks one CRL by its score, then by its time. A newer CRL that is about other certificates or
//   reasons, or about all where the other is about some, would then hide what an older one says. Here a
//   certificate is revoked if any CRL of its issuer names it, unless a newer CRL of exactly the same scope
//   has replaced that one.
// - A delta CRL never takes the place of a complete one. OpenSSL 3.0 would let it. What it revokes is
// revoked.
void check_crls(X509_STORE* store);

[[nodiscard]] bool is_delta(const X509_CRL* crl);

}  // namespace pgveil::tls
