// The certificate that a client is sent for the name that it requests. A name changes nothing else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "tests/tls/peers.h"

namespace pgveil::tls::test {
namespace {

using namespace std::string_literals;
using pgveil::test::KeyKind;

// Returns the CN of the certificate that the server sent; "" if it sent none.
std::string shown_to(OpenSslEnd& client) {
  const X509* shown = SSL_get0_peer_certificate(client.ssl());
  return shown == nullptr ? "" : common_name_of(X509_get_subject_name(shown));
}

// A listener with a certificate for db.example.com, one for *.example.com, and a default, which some tests
// remove. The second has a key of another kind.
class ServerName : public testing::TestWithParam<int> {
 protected:
  ServerName() {
    settings_.certificates = {certificate("default", KeyKind::p256, {}),
                              certificate("exact", KeyKind::p256, {"db.example.com"}),
                              certificate("wildcard", KeyKind::rsa2048, {"*.example.com"})};
    SSL_CTX_set_min_proto_version(client_.get(), GetParam());
    SSL_CTX_set_max_proto_version(client_.get(), GetParam());
  }

  ServerCertificate certificate(const char* name, KeyKind key, std::vector<std::string> server_names) {
    const Identity identity = issued_by(site_.root, named(name, key));
    return {std::move(server_names), site_.folder.write(name + ".crt"s, identity.certificate_pem()),
            site_.folder.write(name + ".key"s, identity.key_pem())};
  }
  Acceptance ask_for(const std::string& name) { return accept(Site::build(settings_), client_.get(), name); }

  Site site_;
  ServerSettings settings_;
  SslContext client_ = openssl_client();
};

TEST_P(ServerName, DecidesWhichCertificateIsShown) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"db.example.com", "exact"},           {"DB.EXAMPLE.COM", "exact"}, {"app.example.com", "wildcard"},
      {"a.b.example.com", "default"},        {"example.com", "default"},  {"", "default"},
      {"db.example.com.attacker", "default"}};
  for (const auto& [asked, expected] : rows) {
    auto accepted = ask_for(asked);
    ASSERT_EQ(accepted.status, Engine::Status::ready) << asked << ": " << accepted.server->failure().reason;
    EXPECT_EQ(shown_to(*accepted.client), expected) << asked;
    EXPECT_EQ(accepted.server->agreed().server_name, asked);
    const auto presented = Site::build(settings_)->presented_for(asked);
    ASSERT_TRUE(presented.has_value()) << asked;
    EXPECT_THAT(settings_.certificates.at(presented->certificate).ssl_cert_file,
                testing::EndsWith('/' + expected + ".crt"));
    EXPECT_EQ(presented->names, '"' + expected + "\" (as its CN)");
  }
}

TEST_P(ServerName, IsRefusedWhereNoCertificateIsForIt) {
  settings_.certificates.erase(settings_.certificates.begin());
  auto accepted = ask_for("db.example.org");
  EXPECT_EQ(accepted.status, Engine::Status::failed);
  EXPECT_EQ(accepted.client->error(), "tlsv1 unrecognized name");
  EXPECT_EQ(name_of(accepted.server->failure().failure), "no_common_parameters");
  EXPECT_EQ(accepted.server->failure().reason, "unrecognized name");
  EXPECT_EQ(accepted.server->failure().detail,
            R"(The client asked for "db.example.org", for which no certificate is set.)");
  EXPECT_EQ(shown_to(*ask_for("db.example.com").client), "exact");
  const auto presented = Site::build(settings_)->presented_for("db.example.org");
  ASSERT_FALSE(presented.has_value());
  EXPECT_EQ(presented.error().failure, accepted.server->failure().failure);
  EXPECT_EQ(presented.error().detail, accepted.server->failure().detail);
}

TEST_P(ServerName, IsRefusedWhereNoneIsSentAndThereIsNoDefault) {
  settings_.certificates.erase(settings_.certificates.begin());
  auto accepted = ask_for("");
  EXPECT_EQ(accepted.status, Engine::Status::failed);
  EXPECT_EQ(accepted.client->error(), "tlsv1 unrecognized name");
  EXPECT_EQ(accepted.server->failure().detail,
            "The client asked for no server name, and no certificate is the default.");
}

TEST_P(ServerName, IsEscapedInWhatIsTold) {
  settings_.certificates.erase(settings_.certificates.begin());
  auto accepted = ask_for("a\n\"b");
  EXPECT_EQ(accepted.server->failure().detail,
            R"(The client asked for "a\x0a\x22b", for which no certificate is set.)");
}

TEST_P(ServerName, IsToldAlsoWhereThereIsOneCertificate) {
  auto accepted = accept(Site::build(site_.server_settings()), client_.get(), "any.example.com");
  ASSERT_EQ(accepted.status, Engine::Status::ready);
  EXPECT_EQ(accepted.server->agreed().server_name, "any.example.com");
}

TEST_P(ServerName, BringsTheChainOfItsCertificate) {
  CertificateRequest request = named("Test Intermediate");
  request.authority = true;
  const Identity intermediate = issued_by(site_.root, request);
  const Identity leaf = issued_by(intermediate, named("chained"));
  settings_.certificates.push_back(
      {{"chained.org"},
       site_.folder.write("chained.crt", leaf.certificate_pem() + intermediate.certificate_pem()),
       site_.folder.write("chained.key", leaf.key_pem())});
  const auto chained = ask_for("chained.org");
  EXPECT_EQ(shown_to(*chained.client), "chained");
  EXPECT_EQ(sk_X509_num(SSL_get_peer_cert_chain(chained.client->ssl())), 2);
  const auto plain = ask_for("db.example.com");
  EXPECT_EQ(sk_X509_num(SSL_get_peer_cert_chain(plain.client->ssl())), 1);
}

// PostgreSQL also has OpenSSL search for them. A client does not need the root.
TEST_P(ServerName, BringsIntermediatesOfTheAuthorityFile) {
  CertificateRequest request = named("Test Intermediate");
  request.authority = true;
  const Identity intermediate = issued_by(site_.root, request);
  const Identity leaf = issued_by(intermediate, named("alone"));
  settings_.certificates.push_back({{"alone.org"},
                                    site_.folder.write("alone.crt", leaf.certificate_pem()),
                                    site_.folder.write("alone.key", leaf.key_pem())});
  EXPECT_EQ(sk_X509_num(SSL_get_peer_cert_chain(ask_for("alone.org").client->ssl())), 1);
  settings_.ssl_ca_file =
      site_.folder.write("authorities.crt", site_.root.certificate_pem() + intermediate.certificate_pem());
  EXPECT_EQ(sk_X509_num(SSL_get_peer_cert_chain(ask_for("alone.org").client->ssl())), 2);
  EXPECT_EQ(sk_X509_num(SSL_get_peer_cert_chain(ask_for("db.example.com").client->ssl())), 1);
}

// --- a name does not bypass the policy ---

TEST_P(ServerName, DoesNotSpareAClientTheQuestionForItsCertificate) {
  settings_.ssl_ca_file = site_.folder.path("root.crt");
  const Identity good = issued_by(site_.root, named("app"));
  for (const char* name : {"db.example.com", "app.example.com", "unknown.org", ""}) {
    show(client_.get(), good);
    auto accepted = ask_for(name);
    ASSERT_EQ(accepted.status, Engine::Status::ready) << name << accepted.server->failure().reason;
    const auto peer = accepted.server->agreed().peer;
    ASSERT_TRUE(peer) << name;
    EXPECT_EQ(peer->subject, "CN=app") << name;
  }
}

TEST_P(ServerName, DoesNotLetABadClientCertificateThrough) {
  settings_.ssl_ca_file = site_.folder.path("root.crt");
  show(client_.get(), self_signed(named("intruder")));
  for (const char* name : {"db.example.com", "app.example.com", "unknown.org", ""}) {
    const auto accepted = ask_for(name);
    EXPECT_EQ(accepted.status, Engine::Status::failed) << name;
    EXPECT_EQ(name_of(accepted.server->failure().failure), "untrusted_issuer") << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Versions, ServerName, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& row) { return row.param == TLS1_2_VERSION ? "Tls12" : "Tls13"; });

class ServerNameWithTls12 : public ServerName {};

TEST_P(ServerNameWithTls12, DoesNotChangeTheVersions) {
  settings_.ssl_min_protocol_version = Version::tls1_3;
  for (const char* name : {"db.example.com", "app.example.com", "unknown.org", ""}) {
    const auto accepted = ask_for(name);
    EXPECT_EQ(accepted.status, Engine::Status::failed) << name;
    EXPECT_EQ(name_of(accepted.server->failure().failure), "no_common_version") << name;
  }
}

TEST_P(ServerNameWithTls12, DoesNotChangeTheCiphers) {
  settings_.ssl_ciphers = "ECDHE+AES256";
  SSL_CTX_set_cipher_list(client_.get(), "ECDHE+AES128");
  for (const char* name : {"db.example.com", "app.example.com", "unknown.org", ""}) {
    const auto accepted = ask_for(name);
    EXPECT_EQ(accepted.status, Engine::Status::failed) << name;
    EXPECT_EQ(name_of(accepted.server->failure().failure), "no_common_parameters") << name;
    EXPECT_EQ(accepted.server->failure().reason, "no shared cipher") << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Version, ServerNameWithTls12, testing::Values(TLS1_2_VERSION),
                         [](const auto&) { return "Tls12"; });

// A client that sends no share of an accepted group sends a second ClientHello. It may request another name
// in it, although that is forbidden (RFC 8446, 4.1.2).
TEST(ServerNameOfTheSecondHello, IsThatOfTheCertificateAndOfWhatIsTold) {
  const Site site;
  const auto files = [&](const char* name, KeyKind key) {
    const Identity identity = issued_by(site.root, named(name, key));
    return std::pair(site.folder.write(name + ".crt"s, identity.certificate_pem()),
                     site.folder.write(name + ".key"s, identity.key_pem()));
  };
  const auto [first_crt, first_key] = files("first", KeyKind::p256);
  const auto [second_crt, second_key] = files("second", KeyKind::rsa2048);
  const auto [default_crt, default_key] = files("default", KeyKind::p256);
  ServerSettings settings;
  settings.certificates = {{{"first.org"}, first_crt, first_key},
                           {{"second.org"}, second_crt, second_key},
                           {{}, default_crt, default_key}};
  settings.ssl_groups = "P-384";
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"first.org", "first"}, {"second.org", "second"}, {"third.org", "default"}};
  const auto context = openssl_client();
  SSL_CTX_set1_groups_list(context.get(), "X25519:P-384");
  for (const auto& [asked, expected] : rows) {
    EngineEnd server(Engine::to_client(Site::build(settings), false));
    OpenSslEnd client(context.get(), OpenSslEnd::Side::client);
    set_server_name(client.ssl(), "first.org");
    Bytes to_server;
    Bytes to_client;
    client.handshake({}, to_server);
    ASSERT_EQ(server.handshake(std::exchange(to_server, {}), to_client), Engine::Status::want_input);
    set_server_name(client.ssl(), asked);
    ASSERT_FALSE(client.handshake(std::exchange(to_client, {}), to_server)) << "there must be a second hello";
    ASSERT_EQ(server.handshake(std::exchange(to_server, {}), to_client), Engine::Status::want_input);
    ASSERT_TRUE(client.handshake(to_client, to_server)) << client.error();
    ASSERT_EQ(server.handshake(to_server, to_client), Engine::Status::ready) << server.failure().reason;
    EXPECT_EQ(shown_to(client), expected);
    EXPECT_EQ(server.agreed().server_name, asked);
  }
}

}  // namespace
}  // namespace pgveil::tls::test
