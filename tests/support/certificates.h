// Certificates that are made at run time, so that none is checked in and none expires: CA certificates, leaf
// certificates with any names and octets, CRLs, and their files. Each failure throws, and so fails the test.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tls/internal/openssl.h"

namespace pgveil::test {

enum class KeyKind { p256, rsa2048, rsa768, rsa_pss2048, ed25519 };

// A subject alternative name. The certificate contains `octets` unchanged.
struct AlternativeName {
  enum class Kind { dns, ip, email, uri };
  Kind kind;
  std::string octets;  // a valid ip has 4 or 16; a test may use any number
};
[[nodiscard]] AlternativeName dns(std::string_view octets);
[[nodiscard]] AlternativeName ip(std::string_view octets);
[[nodiscard]] AlternativeName email(std::string_view address);
[[nodiscard]] AlternativeName uri(std::string_view text);

// A part of a subject. The certificate contains its octets unchanged.
struct Attribute {
  int nid;   // for example NID_organizationName
  int type;  // for example V_ASN1_BMPSTRING
  std::string octets;
};

// The content of a certificate.
struct CertificateRequest {
  std::vector<std::string> common_names;  // unchanged and in this order; none: an empty subject
  std::vector<AlternativeName> alternative_names;
  bool authority = false;          // basicConstraints CA:TRUE, keyUsage keyCertSign, cRLSign
  std::string extended_key_usage;  // such as "serverAuth"; empty: none
  std::string name_constraints;    // such as "permitted;DNS:example.com"; empty: none
  KeyKind key = KeyKind::p256;
  // The validity, relative to the present time.
  std::chrono::seconds not_before = std::chrono::hours(-1);
  std::chrono::seconds not_after = std::chrono::hours(24);
  std::vector<Attribute> attributes = {};    // of the subject, before the common names
  std::string crl_distribution_points = {};  // such as "URI:http://pki.example.com/a.crl"; empty: none
};

// A certificate and its key.
class Identity {
 public:
  Identity(tls::Certificate certificate, tls::PrivateKey key)
      : certificate_(std::move(certificate)), key_(std::move(key)) {}

  [[nodiscard]] X509* certificate() const { return certificate_.get(); }
  [[nodiscard]] EVP_PKEY* key() const { return key_.get(); }
  [[nodiscard]] std::string certificate_pem() const;
  [[nodiscard]] std::string key_pem() const;
  [[nodiscard]] std::string key_pem(const std::string& password) const;  // encrypted, PKCS #8
  [[nodiscard]] std::string key_der() const;

 private:
  tls::Certificate certificate_;
  tls::PrivateKey key_;
};

[[nodiscard]] Identity self_signed(const CertificateRequest& request);
[[nodiscard]] Identity issued_by(const Identity& issuer, const CertificateRequest& request);
[[nodiscard]] Identity authority(const std::string& common_name);
// Returns the same certificate with one bit of its signature inverted.
[[nodiscard]] Identity with_broken_signature(const Identity& identity);

// Returns a CRL of `issuer` that contains `revoked`, as PEM. A CRL whose `next_update` is in the past has expired.
[[nodiscard]] std::string crl_pem(const Identity& issuer, const std::vector<const Identity*>& revoked,
                                  std::chrono::seconds next_update = std::chrono::hours(24));
// The content of a CRL with further fields.
struct CrlRequest {
  std::vector<const Identity*> revoked = {};
  std::chrono::seconds this_update = std::chrono::hours(-2);
  std::chrono::seconds next_update = std::chrono::hours(24);
  std::string issuing_distribution_point = {};  // such as "critical,onlyuser:TRUE"; empty: none
  std::optional<int> number = {};
  std::optional<int> base_number = {};  // if set, the CRL is a delta CRL
};
[[nodiscard]] std::string crl_of(const Identity& issuer, const CrlRequest& request);
// Returns the file name that OpenSSL uses for a CRL of `issuer` in a directory: "5fa4b2c1.r0", then "5fa4b2c1.r1".
[[nodiscard]] std::string crl_file_name(const Identity& issuer, int number = 0);

// A new temporary folder. The destructor removes it with its content.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  [[nodiscard]] std::string path(std::string_view name) const { return (path_ / name).string(); }
  // Writes a file that only the present user may read. Returns its path.
  std::string write(std::string_view name, std::string_view content) const;

 private:
  std::filesystem::path path_;
};

}  // namespace pgveil::test
