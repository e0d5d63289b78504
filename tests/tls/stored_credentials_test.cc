#include "tls/stored_credentials.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/support/certificates.h"

namespace pgveil::tls {
namespace {

using pgveil::test::CertificateRequest;
using pgveil::test::KeyKind;

CertificateRequest usable_for(const std::string& name, const std::string& usage = "",
                              KeyKind key = KeyKind::p256) {
  CertificateRequest request;
  request.common_names = {name};
  request.extended_key_usage = usage;
  request.key = key;
  return request;
}

std::string der_of(X509* certificate) {
  const Bio bio(BIO_new(BIO_s_mem()));
  char* data = nullptr;
  if (i2d_X509_bio(bio.get(), certificate) != 1) return "";
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

class AStoredFile : public testing::Test {
 protected:
  [[nodiscard]] StoredFile read(std::string_view content) const {
    auto file = read_stored_file(folder_.write("file", content));
    if (file) return *std::move(file);
    ADD_FAILURE() << file.error().message;
    return {};
  }

  pgveil::test::TemporaryFolder folder_;
  const pgveil::test::Identity root_ = pgveil::test::authority("root");
};

TEST_F(AStoredFile, HasThePurposeOfEachCertificate) {
  const auto server = pgveil::test::issued_by(root_, usable_for("server", "serverAuth"));
  const auto client = pgveil::test::issued_by(root_, usable_for("client", "clientAuth"));
  const auto both = pgveil::test::issued_by(root_, usable_for("both"));
  const auto neither = pgveil::test::issued_by(root_, usable_for("neither", "codeSigning"));
  const auto file = read(root_.certificate_pem() + server.certificate_pem() + client.certificate_pem() +
                         both.certificate_pem() + neither.certificate_pem());
  ASSERT_EQ(file.certificates.size(), 5U);
  const auto purposes = [&](std::size_t place) {
    const auto& found = file.certificates.at(place);
    return std::string(found.is_authority ? "a" : "-") + (found.is_for_servers ? "s" : "-") +
           (found.is_for_clients ? "c" : "-");
  };
  EXPECT_EQ(purposes(0), "a--");
  EXPECT_EQ(purposes(1), "-s-");
  EXPECT_EQ(purposes(2), "--c");
  EXPECT_EQ(purposes(3), "-sc");
  EXPECT_EQ(purposes(4), "---");
  EXPECT_EQ(file.certificates[1].values.subject, "CN=server");
  EXPECT_EQ(file.certificates[1].pem, server.certificate_pem());
}

TEST_F(AStoredFile, KnowsItsKeyAndWhetherItHasSignedItself) {
  const auto leaf = pgveil::test::issued_by(root_, usable_for("root"));
  const auto file = read(root_.certificate_pem() + leaf.certificate_pem());
  const auto& root = file.certificates.at(0);
  const auto& namesake = file.certificates.at(1);
  EXPECT_EQ(namesake.values.subject, namesake.values.issuer);
  EXPECT_TRUE(root.is_self_signed);
  EXPECT_FALSE(namesake.is_self_signed);
  EXPECT_EQ(root.key_id.size(), 64U);
  EXPECT_NE(root.key_id, namesake.key_id);
  EXPECT_EQ(stored_certificate(root.pem).key_id, root.key_id);
}

TEST_F(AStoredFile, NamesKeysAndSignatures) {
  const auto rsa = pgveil::test::self_signed(usable_for("rsa", "", KeyKind::rsa2048));
  const auto ed25519 = pgveil::test::self_signed(usable_for("ed25519", "", KeyKind::ed25519));
  const auto file = read(root_.certificate_pem() + rsa.certificate_pem() + ed25519.certificate_pem());
  ASSERT_EQ(file.certificates.size(), 3U);
  EXPECT_EQ(file.certificates[0].key, "ECDSA P-256");
  EXPECT_EQ(file.certificates[0].signature, "ecdsa-with-SHA256");
  EXPECT_EQ(file.certificates[1].key, "RSA 2048 bits");
  EXPECT_TRUE(file.certificates[1].gives_channel_binding);
  EXPECT_EQ(file.certificates[2].key, "Ed25519");
  EXPECT_FALSE(file.certificates[2].gives_channel_binding);
}

TEST_F(AStoredFile, ReadsCrls) {
  const auto leaf = pgveil::test::issued_by(root_, usable_for("leaf"));
  const auto file = read(pgveil::test::crl_of(root_, {.revoked = {&leaf}, .number = 12}));
  ASSERT_EQ(file.crls.size(), 1U);
  EXPECT_EQ(file.crls[0].issuer, "CN=root");
  EXPECT_EQ(file.crls[0].number, "12");
  EXPECT_TRUE(file.crls[0].next_update);
  ASSERT_EQ(file.crls[0].revoked.size(), 1U);
  EXPECT_EQ(file.crls[0].revoked[0].serial, read(leaf.certificate_pem()).certificates.at(0).values.serial);
  EXPECT_FALSE(read(pgveil::test::crl_pem(root_, {})).crls.at(0).number);
}

TEST_F(AStoredFile, ReadsAKeyAndChecksItsMode) {
  const auto good = read(root_.key_pem());
  ASSERT_TRUE(good.key);
  EXPECT_EQ(good.key->key, "ECDSA P-256");
  EXPECT_FALSE(good.key->fault);
  EXPECT_EQ(read(root_.key_pem("secret")).key.value().key, "");
  EXPECT_TRUE(good.key->is_pem && read(root_.key_pem("secret")).key.value().is_pem);
  EXPECT_FALSE(read(root_.key_der()).key.value().is_pem);
  const std::string open_file = folder_.write("open.key", root_.key_pem());
  ASSERT_EQ(::chmod(open_file.c_str(), 0644), 0);
  EXPECT_TRUE(read_stored_file(open_file)->key->fault);
}

TEST_F(AStoredFile, HasAKeyWhereverItIs) {
  for (const std::string& content :
       {root_.key_pem() + root_.certificate_pem(), root_.certificate_pem() + root_.key_pem()}) {
    const auto file = read(content);
    EXPECT_EQ(file.key.value().key, "ECDSA P-256");
    EXPECT_EQ(file.certificates.size(), 1U);
    EXPECT_EQ(file.blocks, 2U);
  }
  EXPECT_EQ(read(root_.key_der()).key.value().key, "ECDSA P-256");
  EXPECT_TRUE(read(root_.certificate_pem() + root_.key_pem("secret")).key);
  EXPECT_FALSE(read(root_.certificate_pem()).key);
}

TEST_F(AStoredFile, IsAnErrorIfItHoldsNothingOfTheKind) {
  const auto message = [&](std::string_view content) {
    const auto file = read_stored_file(folder_.write("other", content));
    return file ? "" : file.error().message;
  };
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "it is empty", message(""));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "no PEM block of a certificate", message("dear diary"));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "in DER format", message(der_of(root_.certificate())));
  const auto missing = read_stored_file(folder_.path("missing"));
  ASSERT_FALSE(missing);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "No such file", missing.error().message);
}

}  // namespace
}  // namespace pgveil::tls
