// Chains as a server sends them, for tests.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "tests/support/certificates.h"
#include "tls/stored_credentials.h"

namespace pgveil::test {

// A certificate for a server, with these names.
inline CertificateRequest server(const std::string& name, std::vector<AlternativeName> names = {}) {
  CertificateRequest request;
  request.common_names = {name};
  request.alternative_names = std::move(names);
  request.extended_key_usage = "serverAuth";
  return request;
}

// An authority that another one has certified.
inline CertificateRequest intermediate(const std::string& name) {
  CertificateRequest request;
  request.common_names = {name};
  request.authority = true;
  return request;
}

inline std::vector<tls::StoredCertificate> sent(std::initializer_list<const Identity*> identities) {
  std::vector<tls::StoredCertificate> chain;
  for (const auto* identity : identities)
    chain.push_back(tls::stored_certificate(identity->certificate_pem()));
  return chain;
}

}  // namespace pgveil::test
