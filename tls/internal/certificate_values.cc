#include "tls/internal/certificate_values.h"

#include <new>

#include <array>
#include <ctime>
#include <span>

#include "tls/digest.h"

namespace pgveil::tls {
namespace {

using GeneralNames = std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES_free>>;
using Number = std::unique_ptr<BIGNUM, Freed<BN_free>>;

std::string bytes_of(const ASN1_STRING* string) {
  const auto* data = reinterpret_cast<const char*>(ASN1_STRING_get0_data(string));
  return {data, static_cast<std::size_t>(ASN1_STRING_length(string))};
}

bool is_text(const ASN1_STRING* value) {
  switch (ASN1_STRING_type(value)) {
    case V_ASN1_UTF8STRING:
    case V_ASN1_PRINTABLESTRING:
    case V_ASN1_IA5STRING:
    case V_ASN1_T61STRING: return bytes_of(value).find('\0') == std::string::npos;
    default: return false;
  }
}

bool is_text(const X509_NAME* name) {
  for (int i = 0; i < X509_NAME_entry_count(name); ++i) {
    if (!is_text(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i)))) return false;
  }
  return true;
}

std::vector<std::string> common_names_of(const X509_NAME* subject) {
  std::vector<std::string> names;
  for (int place = -1; (place = X509_NAME_get_index_by_NID(subject, NID_commonName, place)) >= 0;)
    names.push_back(bytes_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, place))));
  return names;
}

// Returns null if there are none, or if the extension cannot be parsed.
GeneralNames alternative_names_of(const X509* certificate) {
  return GeneralNames(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
}

std::vector<std::string> alternative_names_of(const GENERAL_NAMES* all, int type) {
  std::vector<std::string> names;
  for (int i = 0; i < sk_GENERAL_NAME_num(all); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(all, i);
    if (name->type == type) names.push_back(bytes_of(name->d.ia5));
  }
  return names;
}

}  // namespace

std::string name_text(const X509_NAME* name) {
  const Bio bio(BIO_new(BIO_s_mem()));
  // X509_NAME_print_ex() stops at bytes that are invalid for their type, but OpenSSL does not parse such a
  // name.
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

std::string serial_text(const ASN1_INTEGER* serial) {
  const Number number(ASN1_INTEGER_to_BN(serial, nullptr));
  if (!number) return {};
  std::vector<unsigned char> bytes(static_cast<std::size_t>(BN_num_bytes(number.get())));
  BN_bn2bin(number.get(), bytes.data());
  const std::string text = bytes.empty() ? "00" : hexadecimal(bytes);
  return BN_is_negative(number.get()) == 1 ? '-' + text : text;
}

std::int64_t seconds_since_1970(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return 0;
  return ::timegm(&parts);
}

CertificateNames names_of(X509* certificate) {
  CertificateNames names;
  const GeneralNames alternatives = alternative_names_of(certificate);
  for (int i = 0; i < sk_GENERAL_NAME_num(alternatives.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(alternatives.get(), i);
    if (name->type == GEN_DNS)
      names.alternative_names.push_back({CertificateNames::Kind::dns_name, bytes_of(name->d.dNSName)});
    if (name->type == GEN_IPADD)
      names.alternative_names.push_back({CertificateNames::Kind::ip_address, bytes_of(name->d.iPAddress)});
  }
  const X509_NAME* subject = X509_get_subject_name(certificate);
  const int place = subject == nullptr ? -1 : X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (place >= 0)
    names.first_common_name = bytes_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, place)));
  return names;
}

std::string fingerprint_of(const X509* certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  X509_digest(certificate, EVP_sha256(), digest.data(), &size);
  return hexadecimal(std::span(digest).first(size));
}

std::string key_id_of(const X509* certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (X509_pubkey_digest(certificate, EVP_sha256(), digest.data(), &size) != 1) return "";
  return hexadecimal(std::span(digest).first(size));
}

PeerCertificate values_of(X509* certificate) {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  const GeneralNames alternatives = alternative_names_of(certificate);
  return {.subject = name_text(subject),
          .issuer = name_text(X509_get_issuer_name(certificate)),
          .serial = serial_text(X509_get0_serialNumber(certificate)),
          .sha256_fingerprint = fingerprint_of(certificate),
          .not_before = seconds_since_1970(X509_get0_notBefore(certificate)),
          .not_after = seconds_since_1970(X509_get0_notAfter(certificate)),
          .names = names_of(certificate),
          .common_names = common_names_of(subject),
          .subject_is_text = is_text(subject),
          .dns_names = alternative_names_of(alternatives.get(), GEN_DNS),
          .uris = alternative_names_of(alternatives.get(), GEN_URI),
          .emails = alternative_names_of(alternatives.get(), GEN_EMAIL)};
}

std::vector<std::uint8_t> der_of(const X509* certificate) {
  const int size = i2d_X509(certificate, nullptr);
  if (size <= 0) throw std::bad_alloc();
  std::vector<std::uint8_t> der(static_cast<std::size_t>(size));
  unsigned char* end = der.data();
  if (i2d_X509(certificate, &end) != size) throw std::bad_alloc();
  return der;
}

std::string holder_of(X509* certificate) {
  const auto for_name = [](const std::string& name) { return "for \"" + printable(name) + '"'; };
  const PeerCertificate values = values_of(certificate);
  if (!values.subject.empty()) return "of \"" + values.subject + '"';
  if (!values.names.alternative_names.empty()) return "for " + describe(values.names);
  if (!values.uris.empty()) return for_name(values.uris.front());
  if (!values.emails.empty()) return for_name(values.emails.front());
  return "without a name and with the serial " + values.serial;
}

}  // namespace pgveil::tls
