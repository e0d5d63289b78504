#include "tls/certificate_authority.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <array>
#include <new>
#include <utility>

#include "tls/digest.h"
#include "tls/internal/certificate_builder.h"
#include "tls/internal/certificate_values.h"
#include "tls/internal/channel_binding.h"
#include "tls/internal/file_content.h"
#include "tls/internal/file_kind.h"
#include "tls/internal/own_certificate.h"

namespace pgveil::tls {
namespace {

constexpr std::array<std::pair<std::string_view, NewKey>, 5> kNewKeys{{{"p256", NewKey::p256},
                                                                       {"rsa:2048", NewKey::rsa2048},
                                                                       {"rsa:3072", NewKey::rsa3072},
                                                                       {"rsa:4096", NewKey::rsa4096},
                                                                       {"ed25519", NewKey::ed25519}}};

void sign(X509* certificate, EVP_PKEY* key) {
  require(X509_sign(certificate, key, signature_hash(key)) > 0, "sign a certificate");
}

// TLS 1.2 encrypts with an RSA key if both sides agree on a cipher without forward secrecy.
const char* key_usage_of(NewCertificate::Role role, EVP_PKEY* key) {
  const bool encrypts = role == NewCertificate::Role::server && EVP_PKEY_is_a(key, "RSA") == 1;
  return encrypts ? "critical,digitalSignature,keyEncipherment" : "critical,digitalSignature";
}

NewIdentity identity_of(X509* certificate, EVP_PKEY* key) {
  NewIdentity identity;
  identity.certificate = pem_of(certificate);
  identity.key = pem_of(key);
  return identity;
}

// No passphrase is asked for, so a key that is encrypted is an error of its own.
std::optional<SettingError> encrypted_key_error(const std::string& key_file) {
  const auto content = FileContent::read(key_file);
  if (!content || kind_of(content->bytes()).content != Content::encrypted_key) return std::nullopt;
  return SettingError{"", "private key file " + in_quotes(key_file) + " is encrypted",
                      "Store the key of a development authority without a passphrase, with mode 0600."};
}

// What an authority must have and be allowed to do.
std::optional<SettingError> unfit_authority(X509* certificate, const std::string& file) {
  const bool is_authority = X509_check_ca(certificate) == 1;
  const auto usage = X509_get_key_usage(certificate);
  const bool has_key_identifier = X509_get0_subject_key_id(certificate) != nullptr;
  ERR_clear_error();
  const bool may_sign = is_authority && (usage & KU_KEY_CERT_SIGN) != 0 && (usage & KU_CRL_SIGN) != 0;
  if (may_sign && has_key_identifier) return std::nullopt;
  return SettingError{
      "",
      "the certificate " + holder_of(certificate) + " in " + in_quotes(file) +
          (may_sign ? " has no subject key identifier" : " may not sign certificates and CRLs"),
      "Use an authority that \"pgveil certs ca\" has made."};
}

}  // namespace

struct CertificateAuthority::Pair {
  Certificate certificate;
  PrivateKey key;
};

std::optional<NewKey> new_key_of(std::string_view name) {
  for (const auto& [known, key] : kNewKeys)
    if (known == name) return key;
  return std::nullopt;
}

NewIdentity::~NewIdentity() {
  wipe(key);
}

NewIdentity new_authority(const std::string& common_name, NewKey key_kind, const Validity& validity) {
  const PrivateKey key = generate_key(key_kind);
  const Certificate made = unsigned_certificate(key.get(), common_name, validity);
  X509* const self = made.get();
  require(X509_set_issuer_name(self, X509_get_subject_name(self)) == 1, "set the issuer");
  // It signs certificates of servers and clients, and no other authority.
  add_extension(self, self, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  add_extension(self, self, NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(self, self, NID_subject_key_identifier, "hash");
  add_extension(self, self, NID_authority_key_identifier, "keyid:always");
  sign(self, key.get());
  return identity_of(self, key.get());
}

tl::expected<CertificateAuthority, SettingError> CertificateAuthority::load(
    const std::string& certificate_file, const std::string& key_file) {
  if (auto error = encrypted_key_error(key_file)) return tl::unexpected(*std::move(error));
  const SslContext context(SSL_CTX_new(TLS_method()));
  if (!context) throw std::bad_alloc();
  std::vector<SettingError> errors;
  auto own = load_own_certificate(context.get(),
                                  {.cert_setting = "",
                                   .cert_file = certificate_file,
                                   .key_setting = "",
                                   .key_file = key_file,
                                   .key_rule = KeyFileRule::libpq,
                                   .passphrase = {Passphrase::Source::setting, "", ""}},
                                  errors);
  if (!own) return tl::unexpected(std::move(errors.front()));
  if (auto error = unfit_authority(own->leaf.get(), certificate_file))
    return tl::unexpected(*std::move(error));
  return CertificateAuthority(std::make_unique<const Pair>(Pair{std::move(own->leaf), std::move(own->key)}));
}

CertificateAuthority::CertificateAuthority(std::unique_ptr<const Pair> pair)
    : pair_(std::move(pair)), values_(values_of(pair_->certificate.get())) {}
CertificateAuthority::CertificateAuthority(CertificateAuthority&&) noexcept = default;
CertificateAuthority::~CertificateAuthority() = default;

bool CertificateAuthority::gives_channel_binding() const {
  return signature_hash(pair_->key.get()) != nullptr;
}

NewIdentity CertificateAuthority::issue(const NewCertificate& certificate, NewKey key_kind,
                                        const Validity& validity) const {
  X509* const issuer = pair_->certificate.get();
  const PrivateKey key = generate_key(key_kind);
  const Certificate made = unsigned_certificate(key.get(), certificate.common_name, validity);
  X509* const leaf = made.get();
  const bool is_server = certificate.role == NewCertificate::Role::server;
  require(X509_set_issuer_name(leaf, X509_get_subject_name(issuer)) == 1, "set the issuer");
  add_extension(leaf, issuer, NID_basic_constraints, "critical,CA:FALSE");
  add_extension(leaf, issuer, NID_key_usage, key_usage_of(certificate.role, key.get()));
  add_extension(leaf, issuer, NID_ext_key_usage, is_server ? "serverAuth" : "clientAuth");
  add_extension(leaf, issuer, NID_subject_key_identifier, "hash");
  add_extension(leaf, issuer, NID_authority_key_identifier, "keyid:always");
  add_alternative_names(leaf, certificate);
  sign(leaf, pair_->key.get());
  return identity_of(leaf, key.get());
}

bool CertificateAuthority::has_issued(const std::string& pem) const {
  const Certificate certificate = read_certificate(pem);
  const bool is_issuer = X509_NAME_cmp(X509_get_issuer_name(certificate.get()),
                                       X509_get_subject_name(pair_->certificate.get())) == 0 &&
                         X509_verify(certificate.get(), pair_->key.get()) == 1;
  ERR_clear_error();
  return is_issuer;
}

std::string CertificateAuthority::renew(const std::string& pem, const Validity& validity) const {
  const Certificate certificate = read_certificate(pem);
  set_random_serial(certificate.get());
  set_validity(certificate.get(), validity);
  sign(certificate.get(), pair_->key.get());
  return pem_of(certificate.get());
}

std::string CertificateAuthority::crl(std::span<const RevokedSerial> revoked, std::int64_t number,
                                      const Validity& validity) const {
  const Crl made = unsigned_crl(pair_->certificate.get(), revoked, number, validity);
  require(X509_CRL_sign(made.get(), pair_->key.get(), signature_hash(pair_->key.get())) > 0, "sign a CRL");
  return pem_of(made.get());
}

}  // namespace pgveil::tls
