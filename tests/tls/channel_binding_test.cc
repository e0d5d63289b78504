#include "tls/channel_binding.h"

#include <gtest/gtest.h>
#include <openssl/err.h>

#include <stdexcept>

#include "tests/support/certificates.h"

namespace pgveil::tls {
namespace {

using DigestContext = std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX_free>>;
using Octets = std::vector<std::uint8_t>;

Octets der_of(const X509* certificate) {
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

// A certificate signed with a key of that kind and that digest (null: the kind has its own), as it comes off
// the wire.
Certificate signed_with(const std::string& kind, const char* digest) {
  test::CertificateRequest request;
  request.common_names = {"db.example.com"};
  const test::Identity model = test::self_signed(request);
  const Certificate certificate(X509_dup(model.certificate()));
  const PrivateKey key = key_of(kind);
  const DigestContext context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* parameters = nullptr;
  if (!key ||
      EVP_DigestSignInit_ex(context.get(), &parameters, digest, nullptr, nullptr, key.get(), nullptr) != 1)
    throw std::runtime_error("no such key or digest");
  if (kind == "RSA-PSS") EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING);
  if (X509_sign_ctx(certificate.get(), context.get()) <= 0) throw std::runtime_error("cannot be signed so");

  const Octets der = der_of(certificate.get());
  const unsigned char* place = der.data();
  return Certificate(d2i_X509(nullptr, &place, static_cast<long>(der.size())));
}

Octets hash_of(const X509* certificate, const char* digest) {
  const Octets der = der_of(certificate);
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
  const Certificate certificate = signed_with(GetParam().key, GetParam().digest);
  const auto binding = server_end_point_of(certificate.get());
  ASSERT_TRUE(binding.has_value());
  EXPECT_EQ(*binding, hash_of(certificate.get(), GetParam().bound_by));
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
  const Certificate certificate = signed_with(GetParam().key, GetParam().digest);
  EXPECT_EQ(server_end_point_of(certificate.get()), std::nullopt);
  EXPECT_EQ(ERR_peek_error(), 0U);
}

INSTANTIATE_TEST_SUITE_P(ChannelBinding, UndefinedServerEndPoint,
                         testing::Values(Signature{"Ed25519", "ED25519", nullptr, nullptr},
                                         Signature{"Ed448", "ED448", nullptr, nullptr}),
                         [](const auto& row) { return row.param.name; });

// The digest is that of the signature, which is the issuer's, and not one that fits the certificate's own
// key.
TEST(ChannelBinding, OfACertificateFromAnEd25519AuthorityIsUndefined) {
  test::CertificateRequest request;
  request.common_names = {"authority"};
  request.authority = true;
  request.key = test::KeyKind::ed25519;
  const test::Identity issuer = test::self_signed(request);
  const test::Identity leaf = test::issued_by(issuer, test::CertificateRequest{});
  EXPECT_EQ(server_end_point_of(leaf.certificate()), std::nullopt);
}

}  // namespace
}  // namespace pgveil::tls
