#include "tls/internal/chain_check.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include <memory>
#include <new>

#include "tls/internal/certificate_values.h"
#include "tls/internal/verification.h"

namespace pgveil::tls {
namespace {

using StoreContext = std::unique_ptr<X509_STORE_CTX, Freed<X509_STORE_CTX_free>>;

// OpenSSL has parsed these certificates before, so only lack of memory can make this fail.
CertificateChain parse(const PeerChain& chain) {
  CertificateChain parsed(sk_X509_new_null());
  if (!parsed) throw std::bad_alloc();
  for (const auto& der : chain) {
    const unsigned char* begin = der.data();
    Certificate certificate(d2i_X509(nullptr, &begin, static_cast<long>(der.size())));
    if (!certificate || sk_X509_push(parsed.get(), certificate.get()) <= 0) throw std::bad_alloc();
    static_cast<void>(certificate.release());
  }
  return parsed;
}

// Sets what OpenSSL sets in a handshake (ssl_cert.c: ssl_verify_cert_chain). The store has the flags and functions of the
// CRL check.
void set_policy(X509_STORE_CTX* verification, const SSL_CTX* context, bool is_server) {
  X509_VERIFY_PARAM* parameters = X509_STORE_CTX_get0_param(verification);
  X509_VERIFY_PARAM_set_auth_level(parameters, SSL_CTX_get_security_level(context));
  X509_STORE_CTX_set_default(verification, is_server ? "ssl_server" : "ssl_client");
  X509_VERIFY_PARAM_set1(parameters, SSL_CTX_get0_param(const_cast<SSL_CTX*>(context)));
}

}  // namespace

std::optional<FailureReport> check_chain(SSL_CTX* context, const PeerChain& chain,
                                         const ExpectedServer* server) {
  ERR_clear_error();
  const CertificateChain certificates = parse(chain);
  X509* leaf = sk_X509_value(certificates.get(), 0);
  const StoreContext verification(X509_STORE_CTX_new());
  if (!verification ||
      X509_STORE_CTX_init(verification.get(), SSL_CTX_get_cert_store(context), leaf, certificates.get()) != 1)
    throw std::bad_alloc();
  set_policy(verification.get(), context, server != nullptr);
  const bool is_valid = X509_verify_cert(verification.get()) == 1;
  ERR_clear_error();
  if (!is_valid) {
    if (X509_STORE_CTX_get_error(verification.get()) == X509_V_ERR_OUT_OF_MEM) throw std::bad_alloc();
    return report_of(verification.get());
  }
  if (server == nullptr || match_host(server->host, names_of(leaf), server->common_name) == HostMatch::match)
    return std::nullopt;
  return wrong_name_report(leaf, server->host, server->common_name);
}

}  // namespace pgveil::tls
