// Checks of a chain against CRLs, in addition to OpenSSL's: an additional CRL never makes a revoked
// certificate acceptable. This header is internal to tls/.
#pragma once

#include "tls/internal/openssl.h"

namespace pgveil::tls {

// Has each certificate of a chain checked against the CRLs of `store`, also against those that it looks up
// later.
//
// - OpenSSL picks one CRL by its score, then by its time. A newer CRL for other certificates or reasons, or a
//   CRL for all certificates in place of one for some, would then hide the entries of an older CRL. Here a
//   certificate is revoked if any CRL of its issuer lists it, unless a newer CRL of exactly the same scope
//   has replaced that CRL.
// - A delta CRL never replaces a complete CRL, although OpenSSL 3.0 would allow it. A certificate that a delta
//   CRL revokes is revoked.
void check_crls(X509_STORE* store);

[[nodiscard]] bool is_delta(const X509_CRL* crl);

}  // namespace pgveil::tls
