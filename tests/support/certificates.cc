#include "tests/support/certificates.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace pgveil::test {
namespace {

using tls::Freed;

using Extension = std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION_free>>;
using GeneralNames = std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES_free>>;
using Name = std::unique_ptr<X509_NAME, Freed<X509_NAME_free>>;
using Crl = std::unique_ptr<X509_CRL, Freed<X509_CRL_free>>;
using Number = std::unique_ptr<ASN1_INTEGER, Freed<ASN1_INTEGER_free>>;
using Time = std::unique_ptr<ASN1_TIME, Freed<ASN1_TIME_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Freed<EVP_PKEY_CTX_free>>;

void need(bool done, const char* what) {
  if (!done) throw std::runtime_error(std::string(what) + ": " + tls::take_openssl_error());
}

tls::PrivateKey rsa_key(const char* kind, int bits) {
  const KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, kind, nullptr));
  EVP_PKEY* key = nullptr;
  need(EVP_PKEY_keygen_init(context.get()) == 1 &&
           EVP_PKEY_CTX_set_rsa_keygen_bits(context.get(), bits) == 1 &&
           EVP_PKEY_keygen(context.get(), &key) == 1,
       "making an RSA key");
  return tls::PrivateKey(key);
}

tls::PrivateKey make_key(KeyKind kind) {
  switch (kind) {
    case KeyKind::p256: return tls::PrivateKey(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
    case KeyKind::ed25519: return tls::PrivateKey(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
    case KeyKind::rsa2048: return rsa_key("RSA", 2048);
    case KeyKind::rsa768: return rsa_key("RSA", 768);
    case KeyKind::rsa_pss2048: return rsa_key("RSA-PSS", 2048);
  }
  return nullptr;
}

// Returns the hash for a signature; null for Ed25519, which needs none.
const EVP_MD* digest_for(EVP_PKEY* key) {
  return EVP_PKEY_get_id(key) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256();
}

void set_time(ASN1_TIME* time, std::chrono::seconds from_now) {
  need(X509_gmtime_adj(time, static_cast<long>(from_now.count())) != nullptr, "setting a time");
}

void set_serial(X509* certificate) {
  std::uint64_t serial = 0;
  need(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) == 1, "random bytes");
  need(ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1U) == 1, "setting the serial");
}

void add_extension(X509* certificate, int nid, const char* value) {
  const Extension extension(X509V3_EXT_conf_nid(nullptr, nullptr, nid, value));
  need(extension && X509_add_ext(certificate, extension.get(), -1) == 1, value);
}

void add_attribute(X509_NAME* name, const Attribute& attribute) {
  // If the type is not an MBSTRING_* flag, OpenSSL uses the octets unchanged, NULs included.
  need(X509_NAME_add_entry_by_NID(name, attribute.nid, attribute.type,
                                  reinterpret_cast<const unsigned char*>(attribute.octets.data()),
                                  static_cast<int>(attribute.octets.size()), -1, 0) == 1,
       "adding to a subject");
}

int type_of(AlternativeName::Kind kind) {
  switch (kind) {
    case AlternativeName::Kind::dns: return GEN_DNS;
    case AlternativeName::Kind::ip: return GEN_IPADD;
    case AlternativeName::Kind::email: return GEN_EMAIL;
    case AlternativeName::Kind::uri: return GEN_URI;
  }
  return -1;
}

void add_alternative_names(X509* certificate, const std::vector<AlternativeName>& names) {
  if (names.empty()) return;
  const GeneralNames list(GENERAL_NAMES_new());
  for (const auto& [kind, octets] : names) {
    ASN1_STRING* value = kind == AlternativeName::Kind::ip ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
    need(ASN1_STRING_set(value, octets.data(), static_cast<int>(octets.size())) == 1, "setting a name");
    GENERAL_NAME* name = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(name, type_of(kind), value);
    need(sk_GENERAL_NAME_push(list.get(), name) > 0, "adding a name");
  }
  need(X509_add1_ext_i2d(certificate, NID_subject_alt_name, list.get(), 0, X509V3_ADD_DEFAULT) == 1,
       "adding the names");
}

void set_subject(X509* certificate, const CertificateRequest& request) {
  const Name name(X509_NAME_new());
  for (const auto& attribute : request.attributes) add_attribute(name.get(), attribute);
  for (const auto& common_name : request.common_names)
    add_attribute(name.get(), {NID_commonName, V_ASN1_UTF8STRING, common_name});
  need(X509_set_subject_name(certificate, name.get()) == 1, "setting the subject");
}

// Returns a certificate without issuer and signature.
tls::Certificate unsigned_certificate(const CertificateRequest& request, EVP_PKEY* key) {
  tls::Certificate made(X509_new());
  X509_set_version(made.get(), X509_VERSION_3);
  set_serial(made.get());
  set_time(X509_getm_notBefore(made.get()), request.not_before);
  set_time(X509_getm_notAfter(made.get()), request.not_after);
  need(X509_set_pubkey(made.get(), key) == 1, "setting the public key");
  set_subject(made.get(), request);
  add_alternative_names(made.get(), request.alternative_names);
  if (request.authority) {
    add_extension(made.get(), NID_basic_constraints, "critical,CA:TRUE");
    add_extension(made.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
  }
  if (!request.extended_key_usage.empty())
    add_extension(made.get(), NID_ext_key_usage, request.extended_key_usage.c_str());
  if (!request.name_constraints.empty())
    add_extension(made.get(), NID_name_constraints, request.name_constraints.c_str());
  if (!request.crl_distribution_points.empty())
    add_extension(made.get(), NID_crl_distribution_points, request.crl_distribution_points.c_str());
  return made;
}

Identity signed_by(const X509_NAME* issuer_name, EVP_PKEY* issuer_key, tls::Certificate certificate,
                   tls::PrivateKey key) {
  need(X509_set_issuer_name(certificate.get(), issuer_name) == 1, "setting the issuer");
  need(X509_sign(certificate.get(), issuer_key, digest_for(issuer_key)) > 0, "signing");
  return {std::move(certificate), std::move(key)};
}

void add_number(X509_CRL* crl, int nid, int value, bool is_critical) {
  const Number number(ASN1_INTEGER_new());
  need(ASN1_INTEGER_set(number.get(), value) == 1, "setting a number");
  need(X509_CRL_add1_ext_i2d(crl, nid, number.get(), is_critical ? 1 : 0, X509V3_ADD_DEFAULT) == 1,
       "adding a number");
}

// Returns the text that `write` writes into a BIO.
template <class Write>
std::string text_of(Write write) {
  const tls::Bio bio(BIO_new(BIO_s_mem()));
  need(write(bio.get()) == 1, "encoding");
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

}  // namespace

AlternativeName dns(std::string_view octets) {
  return {AlternativeName::Kind::dns, std::string(octets)};
}

AlternativeName ip(std::string_view octets) {
  return {AlternativeName::Kind::ip, std::string(octets)};
}

AlternativeName email(std::string_view address) {
  return {AlternativeName::Kind::email, std::string(address)};
}

AlternativeName uri(std::string_view text) {
  return {AlternativeName::Kind::uri, std::string(text)};
}

std::string Identity::certificate_pem() const {
  return text_of([this](BIO* bio) { return PEM_write_bio_X509(bio, certificate()); });
}

std::string Identity::key_pem() const {
  return text_of([this](BIO* bio) {
    return PEM_write_bio_PKCS8PrivateKey(bio, key(), nullptr, nullptr, 0, nullptr, nullptr);
  });
}

std::string Identity::key_pem(const std::string& password) const {
  return text_of([&](BIO* bio) {
    return PEM_write_bio_PKCS8PrivateKey(bio, key(), EVP_aes_256_cbc(), password.data(),
                                         static_cast<int>(password.size()), nullptr, nullptr);
  });
}

std::string Identity::key_der() const {
  return text_of([this](BIO* bio) { return i2d_PrivateKey_bio(bio, key()); });
}

Identity self_signed(const CertificateRequest& request) {
  auto key = make_key(request.key);
  need(key != nullptr, "making a key");
  EVP_PKEY* own_key = key.get();
  auto certificate = unsigned_certificate(request, own_key);
  const X509_NAME* own_name = X509_get_subject_name(certificate.get());
  return signed_by(own_name, own_key, std::move(certificate), std::move(key));
}

Identity issued_by(const Identity& issuer, const CertificateRequest& request) {
  auto key = make_key(request.key);
  need(key != nullptr, "making a key");
  auto certificate = unsigned_certificate(request, key.get());
  return signed_by(X509_get_subject_name(issuer.certificate()), issuer.key(), std::move(certificate),
                   std::move(key));
}

Identity authority(const std::string& common_name) {
  CertificateRequest request;
  request.common_names = {common_name};
  request.authority = true;
  return self_signed(request);
}

Identity with_broken_signature(const Identity& identity) {
  unsigned char* der = nullptr;
  const int size = i2d_X509(identity.certificate(), &der);
  need(size > 0, "encoding a certificate");
  std::vector<unsigned char> bytes(der, der + size);
  OPENSSL_free(der);
  bytes.back() ^= 1U;  // the signature is the last part of the certificate
  const unsigned char* place = bytes.data();
  tls::Certificate broken(d2i_X509(nullptr, &place, size));
  need(broken != nullptr, "decoding a certificate");
  EVP_PKEY_up_ref(identity.key());
  return {std::move(broken), tls::PrivateKey(identity.key())};
}

std::string crl_pem(const Identity& issuer, const std::vector<const Identity*>& revoked,
                    std::chrono::seconds next_update) {
  return crl_of(issuer, CrlRequest{.revoked = revoked, .next_update = next_update});
}

std::string crl_of(const Identity& issuer, const CrlRequest& request) {
  const Crl crl(X509_CRL_new());
  X509_CRL_set_version(crl.get(), X509_CRL_VERSION_2);
  X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(issuer.certificate()));
  const Time time(ASN1_TIME_new());
  set_time(time.get(), request.this_update);
  X509_CRL_set1_lastUpdate(crl.get(), time.get());
  for (const Identity* identity : request.revoked) {
    X509_REVOKED* entry = X509_REVOKED_new();
    X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(identity->certificate()));
    X509_REVOKED_set_revocationDate(entry, time.get());
    need(X509_CRL_add0_revoked(crl.get(), entry) == 1, "adding to a CRL");
  }
  set_time(time.get(), request.next_update);
  X509_CRL_set1_nextUpdate(crl.get(), time.get());
  if (request.number) add_number(crl.get(), NID_crl_number, *request.number, false);
  if (request.base_number) add_number(crl.get(), NID_delta_crl, *request.base_number, true);
  if (!request.issuing_distribution_point.empty()) {
    const char* value = request.issuing_distribution_point.c_str();
    const Extension extension(X509V3_EXT_conf_nid(nullptr, nullptr, NID_issuing_distribution_point, value));
    need(extension && X509_CRL_add_ext(crl.get(), extension.get(), -1) == 1, value);
  }
  X509_CRL_sort(crl.get());
  need(X509_CRL_sign(crl.get(), issuer.key(), digest_for(issuer.key())) > 0, "signing a CRL");
  return text_of([&](BIO* bio) { return PEM_write_bio_X509_CRL(bio, crl.get()); });
}

std::string crl_file_name(const Identity& issuer, int number) {
  const unsigned long hash =
      X509_NAME_hash_ex(X509_get_subject_name(issuer.certificate()), nullptr, nullptr, nullptr);
  char text[32];
  std::snprintf(text, sizeof text, "%08lx.r%d", hash, number);
  return text;
}

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "pgveil-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder can be made");
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryFolder::write(std::string_view name, std::string_view content) const {
  const std::string file = path(name);
  std::ofstream(file, std::ios::binary) << content;
  std::filesystem::permissions(file,
                               std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  return file;
}

}  // namespace pgveil::test
