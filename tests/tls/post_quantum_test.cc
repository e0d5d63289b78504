// post_quantum = "require", with an OpenSSL that has ML-KEM and with one that does not have it.
#include <gtest/gtest.h>

#include <openssl/crypto.h>

#include "tests/tls/peers.h"
#include "tls/internal/handshake_settings.h"

namespace pgveil::tls::test {
namespace {

constexpr const char* kHybrid = "X25519MLKEM768";

bool has_ml_kem() {
  return OpenSSL_version_num() >= 0x30500000UL;
}

template <class Settings>
std::string problem_of(const Settings& settings) {
  using Context = std::conditional_t<std::is_same_v<Settings, ClientSettings>, ClientContext, ServerContext>;
  const auto built = Context::build(settings);
  return built ? "" : built.error().front().setting + ": " + built.error().front().message;
}

template <class Settings>
Settings settings_of(const Site& site) {
  if constexpr (std::is_same_v<Settings, ClientSettings>)
    return site.client_settings();
  else
    return site.server_settings();
}

template <class Settings>
class RequiredPostQuantum : public testing::Test {
 protected:
  RequiredPostQuantum() { settings_.post_quantum = PostQuantum::require; }

  Site site_;
  Settings settings_ = settings_of<Settings>(site_);
};
using BothEnds = testing::Types<ClientSettings, ServerSettings>;
TYPED_TEST_SUITE(RequiredPostQuantum, BothEnds);

TYPED_TEST(RequiredPostQuantum, IsAMistakeIfOpenSslHasNone) {
  const std::string message = problem_of(this->settings_);
  if (has_ml_kem())
    EXPECT_EQ(message, "");
  else
    EXPECT_NE(message.find("post_quantum: \"require\" requires a hybrid group of ML-KEM, and OpenSSL"),
              std::string::npos)
        << message;
}

TYPED_TEST(RequiredPostQuantum, IsAMistakeWithoutTls13) {
  this->settings_.ssl_max_protocol_version = Version::tls1_2;
  EXPECT_EQ(problem_of(this->settings_),
            "post_quantum: \"require\" requires TLS 1.3, which ssl_max_protocol_version \"TLSv1.2\" "
            "excludes");
}

TYPED_TEST(RequiredPostQuantum, IsAMistakeBesideOtherGroupsAlone) {
  if (!has_ml_kem()) GTEST_SKIP() << "this OpenSSL has no ML-KEM";
  for (const char* groups : {"X25519:P-256", "MLKEM768"}) {
    this->settings_.ssl_groups = groups;
    EXPECT_EQ(problem_of(this->settings_), std::string("post_quantum: \"require\" requires a hybrid "
                                                       "group of ML-KEM, and ssl_groups \"") +
                                               groups + "\" has none");
  }
}

// Valid settings for both ends.
struct BothSettings {
  Site site;
  ClientSettings client = site.client_settings();
  ServerSettings server = site.server_settings();
};

// Returns the agreed group, or each end's failure.
std::string outcome(const BothSettings& ends) {
  EngineEnd client(Engine::to_server(Site::build(ends.client), {.host = Site::kHost}));
  EngineEnd server(Engine::to_client(Site::build(ends.server), false));
  if (shake_hands(client, server)) {
    EXPECT_EQ(client.agreed().post_quantum, is_post_quantum(client.agreed().group));
    EXPECT_EQ(server.agreed().post_quantum, client.agreed().post_quantum);
    return client.agreed().version + ' ' + client.agreed().group;
  }
  return "client: " + client.failure().detail + " server: " + server.failure().detail;
}

TEST(PostQuantum, IsAgreedByDefaultIfOpenSslCan) {
  const BothSettings ends;
  const std::string agreed = outcome(ends);
  EXPECT_EQ(agreed.find("MLKEM") != std::string::npos, has_ml_kem()) << agreed;
}

TEST(PostQuantum, IsAgreedIfOneEndRequiresIt) {
  if (!has_ml_kem()) GTEST_SKIP() << "this OpenSSL has no ML-KEM";
  BothSettings client_requires;
  client_requires.client.post_quantum = PostQuantum::require;
  EXPECT_EQ(outcome(client_requires), std::string("TLSv1.3 ") + kHybrid);
  BothSettings server_requires;
  server_requires.server.post_quantum = PostQuantum::require;
  EXPECT_EQ(outcome(server_requires), std::string("TLSv1.3 ") + kHybrid);
}

TEST(PostQuantum, IsTheHybridOfTheGroupsThatAreSet) {
  if (!has_ml_kem()) GTEST_SKIP() << "this OpenSSL has no ML-KEM";
  BothSettings ends;
  ends.client.post_quantum = PostQuantum::require;
  ends.client.ssl_groups = "X25519:SecP256r1MLKEM768";
  ends.server.ssl_groups = "X25519:X25519MLKEM768:SecP256r1MLKEM768";
  EXPECT_EQ(outcome(ends), "TLSv1.3 SecP256r1MLKEM768");
  std::swap(ends.client.post_quantum, ends.server.post_quantum);
  std::swap(ends.client.ssl_groups, ends.server.ssl_groups);
  EXPECT_EQ(outcome(ends), "TLSv1.3 SecP256r1MLKEM768");
}

TEST(PostQuantum, IsMissedInSoManyWords) {
  if (!has_ml_kem()) GTEST_SKIP() << "this OpenSSL has no ML-KEM";
  const std::string of_client =
      "post_quantum is \"require\", and the server does not agree on TLS 1.3 with a hybrid group of ML-KEM: ";
  const std::string of_server =
      "post_quantum is \"require\", and the client does not agree on TLS 1.3 with a hybrid group of ML-KEM: ";
  for (const bool old_version : {false, true}) {
    BothSettings client_requires;
    client_requires.client.post_quantum = PostQuantum::require;
    BothSettings server_requires;
    server_requires.server.post_quantum = PostQuantum::require;
    if (old_version) {
      client_requires.server.ssl_max_protocol_version = Version::tls1_2;
      server_requires.client.ssl_max_protocol_version = Version::tls1_2;
    } else {
      client_requires.server.ssl_groups = "X25519:P-256";
      server_requires.client.ssl_groups = "X25519:P-256";
    }
    EXPECT_NE(outcome(client_requires).find(of_client), std::string::npos) << outcome(client_requires);
    EXPECT_NE(outcome(server_requires).find(of_server), std::string::npos) << outcome(server_requires);
  }
}

// The remembered group of a server must be one of the allowed groups.
TEST(PostQuantum, StaysRequiredOnceAServerIsKnown) {
  if (!has_ml_kem()) GTEST_SKIP() << "this OpenSSL has no ML-KEM";
  const Site site;
  auto settings = site.client_settings();
  settings.post_quantum = PostQuantum::require;
  const auto context = Site::build(settings);
  const auto connect = [&](const char* groups) {
    const auto server_context = openssl_server(site.server);
    SSL_CTX_set1_groups_list(server_context.get(), groups);
    EngineEnd client(Engine::to_server(context, {.host = Site::kHost}));
    OpenSslEnd server(server_context.get(), OpenSslEnd::Side::server);
    return shake_hands(client, server) == Engine::Status::ready ? client.agreed().group : "-";
  };
  EXPECT_EQ(connect("SecP256r1MLKEM768"), "SecP256r1MLKEM768");
  EXPECT_EQ(connect("SecP256r1MLKEM768"), "SecP256r1MLKEM768");
  EXPECT_EQ(connect("X25519:P-256"), "-");
  EXPECT_EQ(connect("X25519:X25519MLKEM768"), "X25519MLKEM768");
}

TEST(PostQuantumGroups, AreToldByTheirNames) {
  for (const char* hybrid : {"X25519MLKEM768", "x25519mlkem768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024"}) {
    EXPECT_TRUE(is_hybrid(hybrid)) << hybrid;
    EXPECT_TRUE(is_post_quantum(hybrid)) << hybrid;
  }
  EXPECT_FALSE(is_hybrid("MLKEM768"));
  EXPECT_TRUE(is_post_quantum("MLKEM768"));
  for (const char* other : {"x25519", "secp256r1", "ffdhe2048", "-", ""}) {
    EXPECT_FALSE(is_hybrid(other)) << other;
    EXPECT_FALSE(is_post_quantum(other)) << other;
  }
}

}  // namespace
}  // namespace pgveil::tls::test
