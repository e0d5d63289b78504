// Contexts that differ from another context only in our own certificate: which certificate is sent, and that
// nothing else differs.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <functional>

#include "tests/tls/peers.h"

namespace pgveil::tls::test {
namespace {

std::string holder_of(const X509* certificate) {
  return certificate == nullptr ? "none" : common_name_of(X509_get_subject_name(certificate));
}

// A server that asks for certificates and accepts all of them, and files of several certificates.
class RoleCertificate : public testing::Test {
 protected:
  RoleCertificate() {
    for (const char* name : {"app", "report"}) write(name, issued_by(site_.root, named(name)));
    auto request = named("Test Intermediate");
    request.authority = true;
    const Identity intermediate = issued_by(site_.root, request);
    const Identity billing = issued_by(intermediate, named("billing"));
    site_.folder.write("billing.crt", billing.certificate_pem() + intermediate.certificate_pem());
    site_.folder.write("billing.key", billing.key_pem());
  }

  void write(const std::string& name, const Identity& identity) {
    site_.folder.write(name + ".crt", identity.certificate_pem());
    site_.folder.write(name + ".key", identity.key_pem());
  }

  [[nodiscard]] std::string file(const std::string& name) const { return site_.folder.path(name); }

  // Returns the shared context, with its own certificate unless `name` is empty.
  [[nodiscard]] std::shared_ptr<const ClientContext> base(const std::string& name = {}) const {
    auto settings = settings_;
    if (!name.empty()) settings.sslcert = file(name + ".crt");
    if (!name.empty()) settings.sslkey = file(name + ".key");
    return Site::build(settings);
  }
  [[nodiscard]] std::shared_ptr<const ClientContext> derived(const ClientContext& of,
                                                             const std::string& name) const {
    auto made = of.with_certificate(file(name + ".crt"), file(name + ".key"));
    if (!made) throw std::runtime_error(made.error()[0].message);
    return *made;
  }

  struct Shown {
    Engine::Status status;
    std::string failure;
    std::string common_name;          // of the certificate that the server received
    std::vector<std::string> behind;  // of the certificates after it
  };
  [[nodiscard]] Shown show(const std::shared_ptr<const ClientContext>& context, int version = TLS1_3_VERSION,
                           const std::string& host = Site::kHost) const {
    const auto server_context = openssl_server(server_);
    SSL_CTX_set_min_proto_version(server_context.get(), version);
    SSL_CTX_set_max_proto_version(server_context.get(), version);
    SSL_CTX_set_cert_verify_callback(
        server_context.get(), [](X509_STORE_CTX*, void*) { return 1; }, nullptr);
    SSL_CTX_set_verify(server_context.get(), SSL_VERIFY_PEER, nullptr);
    OpenSslEnd server(server_context.get(), OpenSslEnd::Side::server);
    EngineEnd client(Engine::to_server(context, {.host = host}));
    Shown shown{};
    shown.status = shake_hands(client, server);
    shown.failure = shown.status == Engine::Status::failed ? name_of(client.failure().failure) : "";
    shown.common_name = holder_of(SSL_get0_peer_certificate(server.ssl()));
    const auto* behind = SSL_get_peer_cert_chain(server.ssl());
    for (int i = 0; i < sk_X509_num(behind); ++i) shown.behind.push_back(holder_of(sk_X509_value(behind, i)));
    return shown;
  }

  Site site_;
  ClientSettings settings_ = site_.client_settings();
  Identity server_{Certificate(X509_dup(site_.server.certificate())),
                   PrivateKey(EVP_PKEY_dup(site_.server.key()))};
};

TEST_F(RoleCertificate, IsShownInPlaceOfThatOfTheSettings) {
  const auto shared = base("app");
  const auto report = derived(*shared, "report");
  const auto billing = derived(*shared, "billing");
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    EXPECT_EQ(show(report, version).common_name, "report");
    EXPECT_EQ(show(billing, version).common_name, "billing");
    EXPECT_EQ(show(shared, version).common_name, "app") << "the shared context has changed";
  }
}

TEST_F(RoleCertificate, IsShownWhereTheSettingsHaveNone) {
  const auto shared = base();
  EXPECT_EQ(show(derived(*shared, "report")).common_name, "report");
  EXPECT_EQ(show(shared).common_name, "none");
}

TEST_F(RoleCertificate, IsShownWithItsOwnChain) {
  EXPECT_EQ(show(derived(*base("app"), "billing")).behind, std::vector<std::string>{"Test Intermediate"});
  EXPECT_EQ(show(derived(*base("billing"), "app")).behind, show(base("app")).behind);
}

TEST_F(RoleCertificate, MayBeDerivedFromAnother) {
  EXPECT_EQ(show(derived(*derived(*base("app"), "billing"), "report")).common_name, "report");
}

TEST_F(RoleCertificate, OutlivesWhatItWasDerivedFrom) {
  auto shared = base("app");
  const auto report = derived(*shared, "report");
  shared.reset();
  EXPECT_EQ(show(report).common_name, "report");
}

TEST_F(RoleCertificate, IsNotShownToAServerOfAnotherName) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const auto shown = show(derived(*base("app"), "report"), version, "other.example.com");
    EXPECT_EQ(shown.failure, "wrong_name");
    EXPECT_EQ(shown.common_name, "none");
  }
}

TEST_F(RoleCertificate, IsNotShownToAServerOfAnUntrustedAuthority) {
  const auto report = derived(*base("app"), "report");
  auto request = named(Site::kHost);
  request.alternative_names = {pgveil::test::dns(Site::kHost)};
  server_ = issued_by(pgveil::test::authority("Unknown Root"), request);
  const auto shown = show(report);
  EXPECT_EQ(shown.failure, "untrusted_issuer");
  EXPECT_EQ(shown.common_name, "none");
}

TEST_F(RoleCertificate, IsNotShownToAServerThatWasRevoked) {
  settings_.sslcrl = site_.folder.write("root.crl", crl_pem(site_.root, {&server_}));
  const auto shown = show(derived(*base("app"), "report"));
  EXPECT_EQ(shown.failure, "revoked");
  EXPECT_EQ(shown.common_name, "none");
}

TEST_F(RoleCertificate, ChangesNoVersion) {
  settings_.ssl_min_protocol_version = Version::tls1_3;
  const auto shown = show(derived(*base("app"), "report"), TLS1_2_VERSION);
  EXPECT_EQ(shown.status, Engine::Status::failed);
  EXPECT_EQ(shown.failure, "no_common_version");
}

TEST_F(RoleCertificate, OpensWithItsPassword) {
  const Identity batch = issued_by(site_.root, named("batch"));
  const auto made =
      base()->with_certificate(site_.folder.write("batch.crt", batch.certificate_pem()),
                               site_.folder.write("batch.key", batch.key_pem("sesame")), "sesame");
  ASSERT_TRUE(made);
  EXPECT_EQ(show(*made).common_name, "batch");
}

TEST_F(RoleCertificate, IsWarnedOfBeforeItExpires) {
  auto request = named("old");
  request.not_after = std::chrono::hours(24 * 30);
  write("new", issued_by(site_.root, request));
  const auto shared = base("app");
  ASSERT_EQ(shared->warnings().size(), 1U);
  EXPECT_EQ(derived(*shared, "new")->warnings().size(), 0U) << "warnings of a certificate that is not shown";
  const auto report = derived(*shared, "report");
  ASSERT_EQ(report->warnings().size(), 1U);
  EXPECT_NE(report->warnings()[0].message.find(file("report.crt")), std::string::npos)
      << report->warnings()[0].message;
}

struct MistakenRole {
  const char* name;
  std::function<void(const Site& site, std::string& cert, std::string& key)> spoil;
  const char* setting;
  const char* message;  // a part of the message
};
void PrintTo(const MistakenRole& row, std::ostream* out) {
  *out << row.name;
}

class RoleCertificateMistake : public RoleCertificate, public testing::WithParamInterface<MistakenRole> {};

TEST_P(RoleCertificateMistake, IsToldWithItsFile) {
  std::string cert = file("report.crt");
  std::string key = file("report.key");
  ASSERT_TRUE(base("app")->with_certificate(cert, key)) << "the files must be fine before they are spoiled";
  GetParam().spoil(site_, cert, key);
  const auto made = base("app")->with_certificate(cert, key);
  ASSERT_FALSE(made);
  ASSERT_EQ(made.error().size(), 1U);
  const auto& mistake = made.error()[0];
  EXPECT_EQ(mistake.setting, GetParam().setting);
  EXPECT_NE(mistake.message.find(GetParam().message), std::string::npos) << mistake.message;
  EXPECT_NE(mistake.message.find(mistake.setting == "sslcert" ? cert : key), std::string::npos)
      << mistake.message;
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Files, RoleCertificateMistake, testing::Values(
    MistakenRole{"CertificateIsMissing",
                 [](const Site&, std::string& cert, std::string&) { cert = "/nonexistent/report.crt"; },
                 "sslcert", "No such file or directory"},
    MistakenRole{"KeyIsMissing", [](const Site&, std::string&, std::string& key) { key = "/nonexistent/report.key"; },
                 "sslkey", "No such file or directory"},
    MistakenRole{"CertificateIsGarbage",
                 [](const Site& site, std::string& cert, std::string&) { cert = site.folder.write("garbage", "none\n"); },
                 "sslcert", "cannot be loaded"},
    MistakenRole{"KeyIsGarbage",
                 [](const Site& site, std::string&, std::string& key) { key = site.folder.write("garbage", "none\n"); },
                 "sslkey", "cannot be loaded"},
    MistakenRole{"KeyIsReadableByAll",
                 [](const Site&, std::string&, std::string& key) { ASSERT_EQ(::chmod(key.c_str(), 0644), 0); },
                 "sslkey", "has group or world access"},
    MistakenRole{"KeyIsThatOfAnother",
                 [](const Site& site, std::string&, std::string& key) { key = site.folder.path("app.key"); },
                 "sslkey", "does not match private key file"},
    MistakenRole{"KeyIsEncrypted",
                 [](const Site& site, std::string&, std::string& key) {
                   key = site.folder.write("locked.key", site.server.key_pem("sesame"));
                 },
                 "sslkey", "is encrypted, and no sslpassword is set"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

}  // namespace
}  // namespace pgveil::tls::test
