#include "tls/internal/crl_check.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include <memory>

namespace pgveil::tls {
namespace {

struct FreedCrls {
  void operator()(STACK_OF(X509_CRL) * crls) const noexcept { sk_X509_CRL_pop_free(crls, X509_CRL_free); }
};
using Crls = std::unique_ptr<STACK_OF(X509_CRL), FreedCrls>;
using CrlNumber = std::unique_ptr<ASN1_INTEGER, Freed<ASN1_INTEGER_free>>;
using DistributionPoint = std::unique_ptr<ISSUING_DIST_POINT, Freed<ISSUING_DIST_POINT_free>>;
using Store = std::unique_ptr<X509_STORE, Freed<X509_STORE_free>>;
using StoreContext = std::unique_ptr<X509_STORE_CTX, Freed<X509_STORE_CTX_free>>;

const ASN1_OCTET_STRING* extension_of(const X509_CRL* crl, int nid) {
  const int place = X509_CRL_get_ext_by_NID(crl, nid, -1);
  return place < 0 ? nullptr : X509_EXTENSION_get_data(X509_CRL_get_ext(crl, place));
}

bool have_same_extension(const X509_CRL* one, const X509_CRL* other, int nid) {
  const auto* first = extension_of(one, nid);
  const auto* second = extension_of(other, nid);
  if (first == nullptr || second == nullptr) return first == second;
  return ASN1_OCTET_STRING_cmp(first, second) == 0;
}

CrlNumber number_of(const X509_CRL* crl) {
  return CrlNumber(static_cast<ASN1_INTEGER*>(X509_CRL_get_ext_d2i(crl, NID_crl_number, nullptr, nullptr)));
}

// Returns whether `crl` is a later version of `older`: for the same certificates and reasons, by the same
// key.
bool replaces(const X509_CRL* crl, const X509_CRL* older) {
  if (is_delta(crl)) return false;
  for (const int nid : {NID_issuing_distribution_point, NID_authority_key_identifier})
    if (!have_same_extension(crl, older, nid)) return false;
  int days = 0, seconds = 0;
  if (ASN1_TIME_diff(&days, &seconds, X509_CRL_get0_lastUpdate(older), X509_CRL_get0_lastUpdate(crl)) != 1)
    return false;
  if (days < 0 || seconds < 0 || (days == 0 && seconds == 0)) return false;
  const CrlNumber number = number_of(crl);
  const CrlNumber older_number = number_of(older);
  return !number || !older_number || ASN1_INTEGER_cmp(number.get(), older_number.get()) >= 0;
}

// Returns whether the serial numbers of the CRL belong to attribute certificates.
bool is_for_attributes(const X509_CRL* crl) {
  const DistributionPoint point(static_cast<ISSUING_DIST_POINT*>(
      X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, nullptr, nullptr)));
  return point && point->onlyattr > 0;
}

bool names(X509_CRL* crl, X509* certificate) {
  X509_REVOKED* entry = nullptr;
  // The result 2 means an entry that removes the certificate from a CRL (removeFromCRL).
  return X509_CRL_get0_by_cert(crl, &entry, certificate) == 1 && !is_for_attributes(crl);
}

// Returns the issuer of the certificate that is being checked. The last certificate of a chain is its own
// issuer.
X509* issuer_in_chain(X509_STORE_CTX* verification) {
  const auto* chain = X509_STORE_CTX_get0_chain(verification);
  const int depth = X509_STORE_CTX_get_error_depth(verification);
  const int last = sk_X509_num(chain) - 1;
  return last < 0 ? nullptr : sk_X509_value(chain, depth < last ? depth + 1 : last);
}

// Several authorities of the same name can have different keys, and each its own serial numbers.
bool is_signed_by(X509_CRL* crl, const X509* authority) {
  if (authority == nullptr) return false;
  const bool is_signed = X509_CRL_verify(crl, X509_get0_pubkey(authority)) == 1;
  ERR_clear_error();
  return is_signed;
}

X509_STORE_CTX_cert_crl_fn openssls_check() {
  static const X509_STORE_CTX_cert_crl_fn check = [] {
    const Store store(X509_STORE_new());
    const StoreContext verification(X509_STORE_CTX_new());
    return store && verification &&
                   X509_STORE_CTX_init(verification.get(), store.get(), nullptr, nullptr) == 1
               ? X509_STORE_CTX_get_cert_crl(verification.get())
               : nullptr;
  }();
  return check;
}

// OpenSSL calls this for each certificate, with the CRL that it has picked.
int check_against(X509_STORE_CTX* verification, X509_CRL* picked, X509* certificate) {
  const auto check = openssls_check();
  if (check == nullptr) {
    X509_STORE_CTX_set_error(verification, X509_V_ERR_OUT_OF_MEM);
    return 0;
  }
  const int verdict = check(verification, picked, certificate);
  if (verdict == 0) return 0;
  X509* issuer = issuer_in_chain(verification);
  X509* crl_issuer = X509_STORE_CTX_get0_current_issuer(verification);
  const Crls crls(X509_STORE_CTX_get1_crls(verification, X509_get_issuer_name(certificate)));
  for (int i = 0; i < sk_X509_CRL_num(crls.get()); ++i) {
    X509_CRL* crl = sk_X509_CRL_value(crls.get(), i);
    if (!names(crl, certificate) || replaces(picked, crl)) continue;
    if (!is_signed_by(crl, issuer) && !is_signed_by(crl, crl_issuer)) continue;
    X509_STORE_CTX_set_error(verification, X509_V_ERR_CERT_REVOKED);
    return X509_STORE_CTX_get_verify_cb(verification)(0, verification);
  }
  return verdict;
}

// Returns the CRLs of which OpenSSL picks one: those that are not delta CRLs.
STACK_OF(X509_CRL) * complete_crls(const X509_STORE_CTX* verification, const X509_NAME* issuer) {
  STACK_OF(X509_CRL)* crls = X509_STORE_CTX_get1_crls(verification, issuer);
  for (int i = sk_X509_CRL_num(crls) - 1; i >= 0; --i)
    if (is_delta(sk_X509_CRL_value(crls, i))) X509_CRL_free(sk_X509_CRL_delete(crls, i));
  return crls;
}

}  // namespace

bool is_delta(const X509_CRL* crl) {
  return X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) >= 0;
}

void check_crls(X509_STORE* store) {
  X509_STORE_set_flags(store,
                       X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL | X509_V_FLAG_EXTENDED_CRL_SUPPORT);
  X509_STORE_set_lookup_crls(store, complete_crls);
  X509_STORE_set_cert_crl(store, check_against);
}

}  // namespace pgveil::tls
