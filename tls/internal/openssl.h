// Owning pointers for OpenSSL objects, and OpenSSL's error queue as text. No code outside of tls/ uses an
// OpenSSL type, except for tests that act as the peer.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

namespace pgveil::tls {

// A deleter that calls an OpenSSL free function. It is empty, so the owning pointer is one word.
template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* object) const noexcept {
    Free(object);
  }
};

// A deleter of a stack with its certificates. It is a function because OpenSSL has only a macro for it.
struct FreedChain {
  void operator()(STACK_OF(X509) * chain) const noexcept { sk_X509_pop_free(chain, X509_free); }
};

using SslContext = std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>>;
using Ssl = std::unique_ptr<SSL, Freed<SSL_free>>;
using SslSession = std::unique_ptr<SSL_SESSION, Freed<SSL_SESSION_free>>;
using Bio = std::unique_ptr<BIO, Freed<BIO_free_all>>;
using BioMethod = std::unique_ptr<BIO_METHOD, Freed<BIO_meth_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Crl = std::unique_ptr<X509_CRL, Freed<X509_CRL_free>>;
using CertificateChain = std::unique_ptr<STACK_OF(X509), FreedChain>;
using PrivateKey = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;

// Returns the text of the oldest error in this thread's queue, and empties the queue; "" if there is no
// error.
[[nodiscard]] std::string take_openssl_error();

}  // namespace pgveil::tls
