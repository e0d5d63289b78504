#include "tls/stored_credentials.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/pem.h>

#include <array>
#include <cstring>
#include <span>
#include <string_view>

#include "tls/file_hint.h"
#include "tls/internal/certificate_builder.h"
#include "tls/internal/certificate_values.h"
#include "tls/internal/channel_binding.h"
#include "tls/internal/file_content.h"
#include "tls/internal/file_kind.h"

namespace pgveil::tls {
namespace {

using Integer = std::unique_ptr<ASN1_INTEGER, Freed<ASN1_INTEGER_free>>;
using Access = std::unique_ptr<AUTHORITY_INFO_ACCESS, Freed<AUTHORITY_INFO_ACCESS_free>>;
using Number = std::unique_ptr<BIGNUM, Freed<BN_free>>;

struct FreedByOpenSsl {
  void operator()(char* text) const noexcept { OPENSSL_free(text); }
};
using OpenSslText = std::unique_ptr<char, FreedByOpenSsl>;

std::string curve_of(const EVP_PKEY* key) {
  std::array<char, 64> name{};
  std::size_t size = 0;
  if (EVP_PKEY_get_group_name(key, name.data(), name.size(), &size) != 1) return "with its own curve";
  const char* nist = EC_curve_nid2nist(OBJ_sn2nid(name.data()));
  return nist != nullptr ? nist : name.data();
}

std::string text_of(const EVP_PKEY* key) {
  if (key == nullptr) return "of an unknown kind";
  if (EVP_PKEY_is_a(key, "EC") == 1) return "ECDSA " + curve_of(key);
  if (EVP_PKEY_is_a(key, "ED25519") == 1) return "Ed25519";
  const char* name = EVP_PKEY_get0_type_name(key);
  return std::string(name == nullptr ? "key" : name) + ' ' + std::to_string(EVP_PKEY_get_bits(key)) + " bits";
}

std::string signature_of(const X509* certificate) {
  const int id = X509_get_signature_nid(certificate);
  const char* name = id == NID_undef ? nullptr : OBJ_nid2ln(id);
  return name == nullptr ? "unknown" : name;
}

// Returns the first URL of caIssuers in the extension authorityInfoAccess; empty: there is none.
std::string issuer_url_of(const X509* certificate) {
  const Access access(
      static_cast<AUTHORITY_INFO_ACCESS*>(X509_get_ext_d2i(certificate, NID_info_access, nullptr, nullptr)));
  for (int i = 0; i < sk_ACCESS_DESCRIPTION_num(access.get()); ++i) {
    const ACCESS_DESCRIPTION* entry = sk_ACCESS_DESCRIPTION_value(access.get(), i);
    if (OBJ_obj2nid(entry->method) != NID_ad_ca_issuers || entry->location->type != GEN_URI) continue;
    const ASN1_IA5STRING* url = entry->location->d.uniformResourceIdentifier;
    return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(url)),
            static_cast<std::size_t>(ASN1_STRING_length(url))};
  }
  return "";
}

StoredCertificate stored(X509* certificate) {
  StoredCertificate stored{.values = values_of(certificate),
                           .pem = pem_of(certificate),
                           .der = der_of(certificate),
                           .key = text_of(X509_get0_pubkey(certificate)),
                           .signature = signature_of(certificate),
                           .key_id = key_id_of(certificate),
                           .is_authority = X509_check_ca(certificate) > 0,
                           .is_self_signed = X509_self_signed(certificate, 1) == 1};
  // An authority can also be a server or a client, as the self-signed certificates of "openssl req -x509" are.
  const auto is_for = [&](int purpose) { return X509_check_purpose(certificate, purpose, 0) == 1; };
  stored.is_for_servers = is_for(X509_PURPOSE_SSL_SERVER);
  stored.is_for_clients = is_for(X509_PURPOSE_SSL_CLIENT);
  stored.gives_channel_binding = server_end_point_of(certificate).has_value();
  stored.issuer_url = issuer_url_of(certificate);
  ERR_clear_error();
  return stored;
}

Number number_of(const ASN1_INTEGER* integer) {
  return Number(integer == nullptr ? nullptr : ASN1_INTEGER_to_BN(integer, nullptr));
}

std::optional<std::string> crl_number_of(const X509_CRL* crl) {
  const Integer integer(
      static_cast<ASN1_INTEGER*>(X509_CRL_get_ext_d2i(crl, NID_crl_number, nullptr, nullptr)));
  const Number number = number_of(integer.get());
  const OpenSslText text(number ? BN_bn2dec(number.get()) : nullptr);
  if (!text) return std::nullopt;
  return text.get();
}

std::vector<RevokedSerial> revoked_in(X509_CRL* crl) {
  std::vector<RevokedSerial> revoked;
  STACK_OF(X509_REVOKED)* entries = X509_CRL_get_REVOKED(crl);
  for (int i = 0; i < sk_X509_REVOKED_num(entries); ++i) {
    const X509_REVOKED* entry = sk_X509_REVOKED_value(entries, i);
    revoked.push_back({serial_text(X509_REVOKED_get0_serialNumber(entry)),
                       seconds_since_1970(X509_REVOKED_get0_revocationDate(entry))});
  }
  return revoked;
}

StoredCrl stored(X509_CRL* crl) {
  StoredCrl stored{.issuer = name_text(X509_CRL_get_issuer(crl)),
                   .number = crl_number_of(crl),
                   .this_update = seconds_since_1970(X509_CRL_get0_lastUpdate(crl)),
                   .next_update = std::nullopt,
                   .revoked = revoked_in(crl)};
  if (const ASN1_TIME* next = X509_CRL_get0_nextUpdate(crl); next != nullptr)
    stored.next_update = seconds_since_1970(next);
  return stored;
}

// Notes that OpenSSL asks for a passphrase, and gives none.
int note_question(char* /*buffer*/, int /*size*/, int /*for_writing*/, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

// Returns the key of a file, wherever it is in it; nullopt: there is none, or it is damaged.
std::optional<StoredKey> stored_key(const FileContent& content, const OpenFile& file,
                                    const std::string& path) {
  bool is_encrypted = false;
  PrivateKey key(PEM_read_bio_PrivateKey(content.bio().get(), nullptr, note_question, &is_encrypted));
  const bool is_pem = key || is_encrypted;
  if (!key && kind_of(content.bytes()) == FileKind{Content::private_key, false})
    key.reset(d2i_PrivateKey_bio(content.bio().get(), nullptr));
  ERR_clear_error();
  if (!key && !is_encrypted) return std::nullopt;
  return StoredKey{.key = key ? text_of(key.get()) : "",
                   .is_pem = is_pem,
                   .fault = check_key_file(file.status(), path, "", KeyFileRule::libpq)};
}

std::size_t count_of_blocks(std::span<const unsigned char> bytes) {
  constexpr std::string_view kBlock = "-----BEGIN ";
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::size_t count = 0;
  for (auto at = text.find(kBlock); at != std::string_view::npos; at = text.find(kBlock, at + 1)) ++count;
  return count;
}

// What the file was probably meant to hold.
Wanted wanted_of(std::span<const unsigned char> bytes) {
  const Content content = kind_of(bytes).content;
  if (is_key(content)) return Wanted::private_key;
  return content == Content::crl ? Wanted::crls : Wanted::own_certificate;
}

SettingError unreadable(const std::string& path, int error) {
  return {"", "file " + in_quotes(path) + " cannot be read: " + std::strerror(error), file_hint(path, error)};
}

}  // namespace

StoredCertificate stored_certificate(const std::string& pem) {
  return stored(read_certificate(pem).get());
}

std::vector<StoredCertificate> stored_certificates(const PeerChain& chain) {
  std::vector<StoredCertificate> certificates;
  for (const auto& der : chain) {
    const unsigned char* begin = der.data();
    const Certificate certificate(d2i_X509(nullptr, &begin, static_cast<long>(der.size())));
    if (certificate) certificates.push_back(stored(certificate.get()));
  }
  ERR_clear_error();
  return certificates;
}

tl::expected<StoredFile, SettingError> read_stored_file(const std::string& path) {
  const auto file = OpenFile::open(path);
  if (!file) return tl::unexpected(unreadable(path, file.error()));
  const auto content = FileContent::read(*file);
  if (!content) return tl::unexpected(unreadable(path, content.error()));
  StoredFile found;
  found.blocks = count_of_blocks(content->bytes());
  found.key = stored_key(*content, *file, path);
  ERR_clear_error();
  const Infos infos = content->infos();
  const std::string error = infos ? "it cannot be parsed" : take_openssl_error();
  ERR_clear_error();
  for (int i = 0; infos && i < sk_X509_INFO_num(infos.get()); ++i) {
    const X509_INFO* info = sk_X509_INFO_value(infos.get(), i);
    if (info->x509 != nullptr) found.certificates.push_back(stored(info->x509));
    if (info->crl != nullptr) found.crls.push_back(stored(info->crl));
  }
  if (found.key || !found.certificates.empty() || !found.crls.empty()) return found;
  const auto fault = fault_of(content->bytes(), wanted_of(content->bytes()), path, error);
  return tl::unexpected(
      SettingError{"", "file " + in_quotes(path) + " cannot be loaded: " + fault.why, fault.hint});
}

}  // namespace pgveil::tls
