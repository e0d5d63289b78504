#include "tls/internal/certificate_builder.h"

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include <array>
#include <stdexcept>

namespace pgveil::tls {
namespace {

using Extension = std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION_free>>;
using GeneralName = std::unique_ptr<GENERAL_NAME, Freed<GENERAL_NAME_free>>;
using GeneralNames = std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES_free>>;
using Name = std::unique_ptr<X509_NAME, Freed<X509_NAME_free>>;
using Number = std::unique_ptr<BIGNUM, Freed<BN_free>>;
using Integer = std::unique_ptr<ASN1_INTEGER, Freed<ASN1_INTEGER_free>>;
using Text = std::unique_ptr<ASN1_STRING, Freed<ASN1_STRING_free>>;
using Time = std::unique_ptr<ASN1_TIME, Freed<ASN1_TIME_free>>;
using Revoked = std::unique_ptr<X509_REVOKED, Freed<X509_REVOKED_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Freed<EVP_PKEY_CTX_free>>;

PrivateKey generate_rsa_key(int bits) {
  const KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr));
  EVP_PKEY* key = nullptr;
  require(context && EVP_PKEY_keygen_init(context.get()) == 1 &&
              EVP_PKEY_CTX_set_rsa_keygen_bits(context.get(), bits) == 1 &&
              EVP_PKEY_keygen(context.get(), &key) == 1,
          "make an RSA key");
  return PrivateKey(key);
}

// Returns UTCTime up to 2049, and GeneralizedTime from 2050 on (RFC 5280, 4.1.2.5).
Time time_of(std::int64_t seconds_since_1970) {
  Time time(ASN1_TIME_set(nullptr, seconds_since_1970));
  require(time != nullptr, "set a time");
  return time;
}

void add_name(GENERAL_NAMES* names, int type, std::string_view octets) {
  GeneralName name(GENERAL_NAME_new());
  Text value(ASN1_STRING_type_new(type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING));
  require(name && value && ASN1_STRING_set(value.get(), octets.data(), static_cast<int>(octets.size())) == 1,
          "set an alternative name");
  GENERAL_NAME_set0_value(name.get(), type, value.release());
  require(sk_GENERAL_NAME_push(names, name.get()) > 0, "add an alternative name");
  static_cast<void>(name.release());
}

void add_subject(GENERAL_NAMES* names, X509* certificate) {
  GeneralName name(GENERAL_NAME_new());
  Name subject(X509_NAME_dup(X509_get_subject_name(certificate)));
  require(name && subject, "set an alternative name");
  GENERAL_NAME_set0_value(name.get(), GEN_DIRNAME, subject.release());
  require(sk_GENERAL_NAME_push(names, name.get()) > 0, "add an alternative name");
  static_cast<void>(name.release());
}

Integer integer_of(const std::string& hexadecimal) {
  BIGNUM* parsed = nullptr;
  const int digits = BN_hex2bn(&parsed, hexadecimal.c_str());
  const Number number(parsed);
  Integer integer(digits > 0 ? BN_to_ASN1_INTEGER(number.get(), nullptr) : nullptr);
  require(integer != nullptr, "read a serial number");
  return integer;
}

void add_revoked(X509_CRL* crl, const RevokedSerial& revoked) {
  Revoked entry(X509_REVOKED_new());
  require(entry && X509_REVOKED_set_serialNumber(entry.get(), integer_of(revoked.serial).get()) == 1 &&
              X509_REVOKED_set_revocationDate(entry.get(), time_of(revoked.time).get()) == 1 &&
              X509_CRL_add0_revoked(crl, entry.get()) == 1,
          "add a certificate to a CRL");
  static_cast<void>(entry.release());
}

void add_crl_extensions(X509_CRL* crl, X509* issuer, std::int64_t number) {
  X509V3_CTX context{};
  X509V3_set_ctx(&context, issuer, nullptr, nullptr, crl, 0);
  const Extension key(X509V3_EXT_conf_nid(nullptr, &context, NID_authority_key_identifier, "keyid:always"));
  require(key && X509_CRL_add_ext(crl, key.get(), -1) == 1, "add the issuer to a CRL");
  const Integer integer(ASN1_INTEGER_new());
  require(integer && ASN1_INTEGER_set_int64(integer.get(), number) == 1 &&
              X509_CRL_add1_ext_i2d(crl, NID_crl_number, integer.get(), 0, X509V3_ADD_DEFAULT) == 1,
          "add the number to a CRL");
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

}  // namespace

void require(bool is_done, std::string_view what) {
  if (!is_done) throw std::runtime_error("could not " + std::string(what) + ": " + take_openssl_error());
}

PrivateKey generate_key(NewKey kind) {
  constexpr int kBits2048 = 2048, kBits3072 = 3072, kBits4096 = 4096;
  PrivateKey key;
  switch (kind) {
    case NewKey::p256: key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256")); break;
    case NewKey::ed25519: key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")); break;
    case NewKey::rsa2048: return generate_rsa_key(kBits2048);
    case NewKey::rsa3072: return generate_rsa_key(kBits3072);
    case NewKey::rsa4096: return generate_rsa_key(kBits4096);
  }
  require(key != nullptr, "make a key");
  return key;
}

const EVP_MD* signature_hash(EVP_PKEY* key) {
  const bool has_own = EVP_PKEY_is_a(key, "ED25519") == 1 || EVP_PKEY_is_a(key, "ED448") == 1;
  return has_own ? nullptr : EVP_sha256();
}

Certificate read_certificate(const std::string& pem) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (!bio) throw std::bad_alloc();
  std::string no_passphrase;
  Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, no_passphrase.data()));
  require(certificate != nullptr, "read a certificate");
  return certificate;
}

void set_random_serial(X509* certificate) {
  // 127 bits, of which the first is 1: the number is positive, and always has 16 bytes (RFC 5280, 4.1.2.2).
  constexpr int kBits = 127;
  const Number number(BN_new());
  require(number && BN_rand(number.get(), kBits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
              BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr,
          "make a serial number");
}

void set_validity(X509* certificate, const Validity& validity) {
  require(X509_set1_notBefore(certificate, time_of(validity.begins).get()) == 1 &&
              X509_set1_notAfter(certificate, time_of(validity.ends).get()) == 1,
          "set the validity");
}

Certificate unsigned_certificate(EVP_PKEY* key, const std::string& common_name, const Validity& validity) {
  Certificate made(X509_new());
  const Name subject(X509_NAME_new());
  require(made && subject && X509_set_version(made.get(), X509_VERSION_3) == 1 &&
              X509_set_pubkey(made.get(), key) == 1,
          "make a certificate");
  set_random_serial(made.get());
  set_validity(made.get(), validity);
  if (!common_name.empty())
    require(X509_NAME_add_entry_by_NID(subject.get(), NID_commonName, MBSTRING_UTF8,
                                       reinterpret_cast<const unsigned char*>(common_name.data()),
                                       static_cast<int>(common_name.size()), -1, 0) == 1,
            "set the common name");
  require(X509_set_subject_name(made.get(), subject.get()) == 1, "set the subject");
  return made;
}

void add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context{};
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  require(extension && X509_add_ext(certificate, extension.get(), -1) == 1, "add an extension");
}

void add_alternative_names(X509* certificate, const NewCertificate& names) {
  const GeneralNames list(GENERAL_NAMES_new());
  require(list != nullptr, "make a list of names");
  for (const auto& name : names.dns_names) add_name(list.get(), GEN_DNS, name);
  for (const auto& address : names.ip_addresses) add_name(list.get(), GEN_IPADD, address);
  for (const auto& uri : names.uris) add_name(list.get(), GEN_URI, uri);
  for (const auto& email : names.emails) add_name(list.get(), GEN_EMAIL, email);
  if (sk_GENERAL_NAME_num(list.get()) == 0) add_subject(list.get(), certificate);
  const int is_critical = names.common_name.empty() ? 1 : 0;
  require(
      X509_add1_ext_i2d(certificate, NID_subject_alt_name, list.get(), is_critical, X509V3_ADD_DEFAULT) == 1,
      "add the alternative names");
}

Crl unsigned_crl(X509* issuer, std::span<const RevokedSerial> revoked, std::int64_t number,
                 const Validity& validity) {
  Crl crl(X509_CRL_new());
  require(crl && X509_CRL_set_version(crl.get(), X509_CRL_VERSION_2) == 1 &&
              X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(issuer)) == 1 &&
              X509_CRL_set1_lastUpdate(crl.get(), time_of(validity.begins).get()) == 1 &&
              X509_CRL_set1_nextUpdate(crl.get(), time_of(validity.ends).get()) == 1,
          "make a CRL");
  for (const RevokedSerial& entry : revoked) add_revoked(crl.get(), entry);
  require(X509_CRL_sort(crl.get()) == 1, "sort a CRL");
  add_crl_extensions(crl.get(), issuer, number);
  return crl;
}

std::string pem_of(X509* certificate) {
  const Bio bio(BIO_new(BIO_s_mem()));
  require(bio && PEM_write_bio_X509(bio.get(), certificate) == 1, "write a certificate");
  return text_of(bio.get());
}

std::string pem_of(X509_CRL* crl) {
  const Bio bio(BIO_new(BIO_s_mem()));
  require(bio && PEM_write_bio_X509_CRL(bio.get(), crl) == 1, "write a CRL");
  return text_of(bio.get());
}

std::string pem_of(EVP_PKEY* key) {
  const Bio bio(BIO_new(BIO_s_secmem()));  // wiped when it is freed
  require(bio && PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
          "write a key");
  return text_of(bio.get());
}

}  // namespace pgveil::tls
