#include "tls/internal/channel_binding.h"

#include <gtest/gtest.h>
#include <openssl/err.h>

#include <stdexcept>

#include "tests/support/certificates.h"
#include "tests/tls/peers.h"

namespace pgveil::tls::test {
namespace {

using DigestContext = std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX_free>>;
using Octets = std::vector<std::uint8_t>;

Octets der_octets(const X509* certificate) {
  Octets der(static_cast<std::size_t>(i2d_X509(certificate, nullptr)));
  unsigned char* end = der.data();
  i2d_X509(certificate, &end);
  return der;
}

PrivateKey key_of(const std::string& kind) {
  if (kind == "EC") return PrivateKey(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
  if (kind.starts_with("RSA"))
    return PrivateKey(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", std::size_t{2048}));
  return PrivateKey(EVP_PKEY_Q_keygen(nullptr, nullptr, kind.c_str()));
}

// Returns a certificate, parsed from DER, and its key. The certificate is signed with a key of this kind and
// with this digest (null: the kind has its own).
Identity signed_with(const std::string& kind, const char* digest,
                     const std::string& host = "db.example.com") {
  CertificateRequest request;
  request.common_names = {host};
  const Identity model = self_signed(request);
  const Certificate certificate(X509_dup(model.certificate()));
  const PrivateKey key = key_of(kind);
  const DigestContext context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* parameters = nullptr;
  if (!key ||
      EVP_DigestSignInit_ex(context.get(), &parameters, digest, nullptr, nullptr, key.get(), nullptr) != 1)
    throw std::runtime_error("no such key or digest");
  if (kind == "RSA-PSS") EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING);
  if (X509_sign_ctx(certificate.get(), context.get()) <= 0) throw std::runtime_error("cannot be signed so");

  const Octets der = der_octets(certificate.get());
  const unsigned char* place = der.data();
  EVP_PKEY_up_ref(model.key());
  return {Certificate(d2i_X509(nullptr, &place, static_cast<long>(der.size()))), PrivateKey(model.key())};
}

CertificateRequest of_ed25519(const std::string& common_name) {
  CertificateRequest request;
  request.common_names = {common_name};
  request.key = pgveil::test::KeyKind::ed25519;
  return request;
}

Octets hash_of(const X509* certificate, const char* digest) {
  const Octets der = der_octets(certificate);
  Octets hash(EVP_MAX_MD_SIZE);
  std::size_t size = 0;
  if (EVP_Q_digest(nullptr, digest, nullptr, der.data(), der.size(), hash.data(), &size) != 1)
    throw std::runtime_error("no such digest");
  hash.resize(size);
  return hash;
}

struct Signature {
  const char* name;
  std::string key;
  const char* digest;
  const char* bound_by;  // the digest of the binding
};

class ServerEndPoint : public testing::TestWithParam<Signature> {};

TEST_P(ServerEndPoint, IsTheCertificateHashedWithTheDigestOfItsSignature) {
  const Identity identity = signed_with(GetParam().key, GetParam().digest);
  const auto binding = server_end_point_of(identity.certificate());
  ASSERT_TRUE(binding.has_value());
  EXPECT_EQ(*binding, hash_of(identity.certificate(), GetParam().bound_by));
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    ChannelBinding, ServerEndPoint,
    testing::Values(
        Signature{"RsaMd5", "RSA", "MD5", "SHA256"},
        Signature{"RsaSha1", "RSA", "SHA1", "SHA256"},
        Signature{"RsaSha224", "RSA", "SHA224", "SHA224"},
        Signature{"RsaSha256", "RSA", "SHA256", "SHA256"},
        Signature{"RsaSha384", "RSA", "SHA384", "SHA384"},
        Signature{"RsaSha512", "RSA", "SHA512", "SHA512"},
        Signature{"RsaSha3", "RSA", "SHA3-256", "SHA3-256"},
        Signature{"EcdsaSha1", "EC", "SHA1", "SHA256"},
        Signature{"EcdsaSha224", "EC", "SHA224", "SHA224"},
        Signature{"EcdsaSha256", "EC", "SHA256", "SHA256"},
        Signature{"EcdsaSha384", "EC", "SHA384", "SHA384"},
        Signature{"EcdsaSha512", "EC", "SHA512", "SHA512"},
        Signature{"RsaPssSha256", "RSA-PSS", "SHA256", "SHA256"},
        Signature{"RsaPssSha384", "RSA-PSS", "SHA384", "SHA384"},
        Signature{"RsaPssSha512", "RSA-PSS", "SHA512", "SHA512"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

class UndefinedServerEndPoint : public testing::TestWithParam<Signature> {};

TEST_P(UndefinedServerEndPoint, IsNoneAndLeavesNoError) {
  const Identity identity = signed_with(GetParam().key, GetParam().digest);
  EXPECT_EQ(server_end_point_of(identity.certificate()), std::nullopt);
  EXPECT_EQ(ERR_peek_error(), 0U);
}

INSTANTIATE_TEST_SUITE_P(ChannelBinding, UndefinedServerEndPoint,
                         testing::Values(Signature{"Ed25519", "ED25519", nullptr, nullptr},
                                         Signature{"Ed448", "ED448", nullptr, nullptr}),
                         [](const auto& row) { return row.param.name; });

// The digest is that of the signature, so it depends on the issuer's key and not on the certificate's own
// key.
TEST(ChannelBinding, OfACertificateFromAnEd25519AuthorityIsUndefined) {
  CertificateRequest request = of_ed25519("authority");
  request.authority = true;
  const Identity issuer = self_signed(request);
  const Identity leaf = issued_by(issuer, CertificateRequest{});
  EXPECT_EQ(server_end_point_of(leaf.certificate()), std::nullopt);
}

// --- connections ---

// Both ends are engines of ours. The server has a certificate for each of two names, and a default without a
// binding.
class EstablishedEndPoint : public testing::TestWithParam<Version> {
 protected:
  EstablishedEndPoint() {
    write("sha384", sha384_);
    write("sha256", sha256_);
    write("ed25519", ed25519_);
    server_settings_.certificates = {{{}, file("ed25519.crt"), file("ed25519.key")},
                                     {{"db.example.com"}, file("sha384.crt"), file("sha384.key")},
                                     {{"other.example.com"}, file("sha256.crt"), file("sha256.key")}};
    // Each certificate is its own authority.
    client_settings_.sslrootcert = site_.folder.write(
        "roots.crt", sha384_.certificate_pem() + sha256_.certificate_pem() + ed25519_.certificate_pem());
    client_settings_.ssl_min_protocol_version = GetParam();
    client_settings_.ssl_max_protocol_version = GetParam();
  }

  void write(const std::string& name, const Identity& identity) const {
    site_.folder.write(name + ".crt", identity.certificate_pem());
    site_.folder.write(name + ".key", identity.key_pem());
  }
  [[nodiscard]] std::string file(const std::string& name) const { return site_.folder.path(name); }

  struct Ends {
    Established server;
    Established client;
  };
  [[nodiscard]] Ends connect(const std::string& host) const {
    EngineEnd client(Engine::to_server(Site::build(client_settings_), {.host = host}));
    EngineEnd server(Engine::to_client(Site::build(server_settings_), false));
    if (!shake_hands(client, server)) throw std::runtime_error(client.failure().reason);
    return {server.agreed(), client.agreed()};
  }

  Site site_;
  Identity sha384_ = signed_with("EC", "SHA384", "db.example.com");
  Identity sha256_ = signed_with("EC", "SHA256", "other.example.com");
  Identity ed25519_ = self_signed(of_ed25519("third.example.com"));
  ServerSettings server_settings_ = site_.server_settings();
  ClientSettings client_settings_ = site_.client_settings();
};

TEST_P(EstablishedEndPoint, IsThatOfTheCertificateThatTheNameBrought) {
  const auto db = connect("db.example.com");
  EXPECT_EQ(db.server.own_end_point, hash_of(sha384_.certificate(), "SHA384"));
  EXPECT_EQ(db.client.peer_end_point, hash_of(sha384_.certificate(), "SHA384"));
  const auto other = connect("other.example.com");
  EXPECT_EQ(other.server.own_end_point, hash_of(sha256_.certificate(), "SHA256"));
  EXPECT_EQ(other.client.peer_end_point, hash_of(sha256_.certificate(), "SHA256"));
}

TEST_P(EstablishedEndPoint, IsEmptyWhereItIsUndefined) {
  const auto third = connect("third.example.com");
  ASSERT_TRUE(third.client.peer);
  EXPECT_EQ(third.server.own_end_point, Octets{});
  EXPECT_EQ(third.client.peer_end_point, Octets{});
}

TEST_P(EstablishedEndPoint, IsNeverThatOfAClientsCertificate) {
  CertificateRequest request;
  request.common_names = {"app"};
  write("app", issued_by(site_.root, request));
  server_settings_.ssl_ca_file = file("root.crt");
  client_settings_.sslcert = file("app.crt");
  client_settings_.sslkey = file("app.key");
  const auto ends = connect("db.example.com");
  ASSERT_TRUE(ends.server.peer);
  ASSERT_NE(ends.client.own_sha256_fingerprint, "");
  EXPECT_EQ(ends.server.peer_end_point, Octets{});
  EXPECT_EQ(ends.client.own_end_point, Octets{});
}

INSTANTIATE_TEST_SUITE_P(Versions, EstablishedEndPoint, testing::Values(Version::tls1_2, Version::tls1_3),
                         [](const auto& row) { return row.param == Version::tls1_2 ? "Tls12" : "Tls13"; });

}  // namespace
}  // namespace pgveil::tls::test
