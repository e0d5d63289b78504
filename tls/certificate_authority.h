// A development authority: makes keys and certificates, renews certificates, and signs CRLs (`pgveil certs`). It works on
// PEM text; it reads the files of an authority, and writes none.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "tls/credentials.h"
#include "tls/peer_certificate.h"

namespace pgveil::tls {

enum class NewKey { p256, rsa2048, rsa3072, rsa4096, ed25519 };
// Returns the key that `name` stands for, such as "rsa:3072"; nullopt: it is not a name.
[[nodiscard]] std::optional<NewKey> new_key_of(std::string_view name);
inline constexpr std::string_view kNewKeyNames = "p256, rsa:2048, rsa:3072, rsa:4096 or ed25519";

// Both in seconds since 1970, and both included.
struct Validity {
  std::int64_t begins = 0;
  std::int64_t ends = 0;
};

// The content of a certificate for a server or a client.
struct NewCertificate {
  enum class Role { server, client };
  Role role = Role::server;
  std::string common_name;  // UTF-8, at most kMaxCommonNameLength characters; empty: a subject without names
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;  // each of 4 or 16 bytes
  std::vector<std::string> uris;
  std::vector<std::string> emails;
};
// ub-common-name of X.520.
inline constexpr std::size_t kMaxCommonNameLength = 64;

// A certificate and its key, as PEM. The destructor wipes the key.
struct NewIdentity {
  std::string certificate;
  std::string key;  // PKCS #8, not encrypted

  NewIdentity() = default;
  NewIdentity(NewIdentity&&) = default;
  NewIdentity& operator=(NewIdentity&&) = delete;
  ~NewIdentity();
};

struct RevokedSerial {
  std::string serial;  // hexadecimal, as in PeerCertificate
  std::int64_t time = 0;
};

// Makes a self-signed authority that may sign certificates of servers and clients, and CRLs. All functions of this file throw
// std::runtime_error if OpenSSL fails, as it does without an algorithm.
[[nodiscard]] NewIdentity new_authority(const std::string& common_name, NewKey key, const Validity& validity);

class CertificateAuthority {
 public:
  // Loads the files, of which the key must have the mode that libpq accepts. An error has no setting.
  [[nodiscard]] static tl::expected<CertificateAuthority, SettingError> load(
      const std::string& certificate_file, const std::string& key_file);
  CertificateAuthority(CertificateAuthority&&) noexcept;
  CertificateAuthority& operator=(CertificateAuthority&&) = delete;
  ~CertificateAuthority();

  [[nodiscard]] const PeerCertificate& certificate() const { return values_; }
  // Returns whether a server with a certificate of this authority can offer SCRAM with channel binding: not if the
  // signature is Ed25519.
  [[nodiscard]] bool gives_channel_binding() const;

  // Makes a key and a certificate for it.
  [[nodiscard]] NewIdentity issue(const NewCertificate& certificate, NewKey key,
                                  const Validity& validity) const;
  // Returns whether this authority has signed the certificate of `pem`. Its own certificate is one of them.
  [[nodiscard]] bool has_issued(const std::string& pem) const;
  // Returns the certificate of `pem`, which this authority must have issued, with the same key and names, another serial
  // and another validity.
  [[nodiscard]] std::string renew(const std::string& pem, const Validity& validity) const;
  // Returns a CRL as PEM. `number` is its CRL number (RFC 5280, 5.2.3).
  [[nodiscard]] std::string crl(std::span<const RevokedSerial> revoked, std::int64_t number,
                                const Validity& validity) const;

 private:
  struct Pair;
  explicit CertificateAuthority(std::unique_ptr<const Pair> pair);
  std::unique_ptr<const Pair> pair_;
  PeerCertificate values_;
};

}  // namespace pgveil::tls
