#include "proxy/session/kept_login.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/support/captured_log.h"
#include "tests/support/certificates.h"
#include "tests/support/snapshot_of.h"

namespace pgveil::proxy {
namespace {

constexpr const char* kUpstream = "[upstream.a]\nhost = \"/nonexistent\"\n";

std::string listener(const std::string& address, const std::string& lines) {
  return "[[listener]]\naddress = \"" + address + "\"\nupstream = \"a\"\n" + lines + '\n';
}
std::string rules(const std::string& hba) {
  return listener("127.0.0.1:5432", "hba = '''" + hba + "'''");
}

KeptLogin login_of(const std::string& user) {
  KeptLogin login;
  login.user = login.database_user = user;
  login.database = "ledger";
  login.names_database = true;
  login.method = protocol::HbaMethod::relay;
  return login;
}

class AKeptLogin : public testing::Test {
 protected:
  // Returns why the session ends under these listeners; "admitted" if it goes on.
  std::string verdict_under(const std::string& listeners) {
    const auto now = test::snapshot_of(listeners + kUpstream);
    ChainVerdicts verdicts;
    const auto ending = check_login(login_, address_, SnapshotListener(then_, listener_), *now, verdicts);
    if (!ending) return "admitted";
    EXPECT_EQ(ending->reason, Reason::no_longer_admitted);
    return ending->detail;
  }

  test::CapturedLog log_{LogConfig{}};
  KeptLogin login_ = login_of("app");
  KernelAddress address_ =
      *kernel_address(SocketAddress{.host = "127.0.0.1", .port = 40'000, .unix_path = ""});
  std::size_t listener_ = 0;
  std::shared_ptr<const Snapshot> then_ = test::snapshot_of(rules("host all all all relay") + kUpstream);
};

TEST_F(AKeptLogin, IsAdmittedByTheSameRules) {
  EXPECT_EQ(verdict_under(rules("host all all all relay")), "admitted");
  EXPECT_EQ(verdict_under(rules("host ledger app 127.0.0.0/8 relay")), "admitted");
}

TEST_F(AKeptLogin, IsJudgedByWhatWasAskedFor) {
  const std::string refused =
      "A new login would be refused: no pg_hba.conf entry for host \"127.0.0.1\", user "
      "\"app\", database \"ledger\", no encryption.";
  for (const char* hba : {"host other all all relay", "host all other all relay",
                          "host all all 10.0.0.0/8 relay", "host replication all all relay"})
    EXPECT_EQ(verdict_under(rules(hba)), refused) << hba;
  EXPECT_EQ(
      verdict_under(rules("host all app all reject\nhost all all all relay")),
      "A new login would be refused: pg_hba.conf rejects connection for host \"127.0.0.1\", user \"app\", "
      "database \"ledger\", no encryption.");
}

TEST_F(AKeptLogin, OfReplicationIsJudgedAsSuch) {
  login_.physical_replication = true;
  EXPECT_EQ(verdict_under(rules("host replication all all relay")), "admitted");
  EXPECT_NE(verdict_under(rules("host all all all relay")), "admitted");
}

TEST_F(AKeptLogin, EndsIfItsMethodIsAnotherOne) {
  EXPECT_EQ(verdict_under(rules("host all all all trust")),
            "The rule in pgveil.toml:4 requires method trust now, in place of relay.");
}

TEST_F(AKeptLogin, UsesTheHostNameThatWasLookedUp) {
  const std::string by_name = rules("host all all app.example.com relay");
  EXPECT_EQ(
      verdict_under(by_name),
      "A rule asks for the host name of the client now, which was not looked up when the session began.");
  login_.host_name = "app.example.com";
  EXPECT_EQ(verdict_under(by_name), "admitted");
  login_.host_name = "other.example.com";
  EXPECT_NE(verdict_under(by_name), "admitted");
  login_.host_name = "";  // the client has none
  EXPECT_NE(verdict_under(by_name), "admitted");
}

TEST_F(AKeptLogin, EndsWithItsListener) {
  EXPECT_EQ(verdict_under(listener("127.0.0.1:5433", "hba = \"host all all all relay\"")),
            "The configuration has no listener 127.0.0.1:5432 any more.");
}

// Listeners with port 0 have the same address.
TEST_F(AKeptLogin, IsJudgedByItsOwnListenerOfSeveralWithOneAddress) {
  const auto two = [](const std::string& first, const std::string& second) {
    return listener("127.0.0.1:0", "hba = \"host all " + first + " all relay\"") +
           listener("127.0.0.1:0", "hba = \"host all " + second + " all relay\"");
  };
  then_ = test::snapshot_of(two("all", "all") + kUpstream);
  EXPECT_EQ(verdict_under(two("app", "other")), "admitted");
  EXPECT_NE(verdict_under(two("other", "app")), "admitted");
  listener_ = 1;
  EXPECT_NE(verdict_under(two("app", "other")), "admitted");
  EXPECT_EQ(verdict_under(two("other", "app")), "admitted");
  EXPECT_EQ(verdict_under(listener("127.0.0.1:0", "hba = \"host all all all relay\"")),
            "The configuration has no listener 127.0.0.1:0 any more.");
}

TEST_F(AKeptLogin, EndsIfItsSecretIsAnotherOne) {
  const test::TemporaryFolder folder;
  const auto with_users = [&](const std::string& users) {
    return listener("127.0.0.1:5432", "hba = \"host all all all scram-sha-256\"\nauth_file = \"" +
                                          folder.write("users", users) + '"');
  };
  const auto then = test::snapshot_of(with_users("\"app\" \"secret\"\n") + kUpstream);
  login_.method = protocol::HbaMethod::scram_sha_256;
  login_.secret = then->listeners.front().users.fingerprint("app");
  ASSERT_TRUE(login_.secret.has_value());
  EXPECT_EQ(verdict_under(with_users("\"app\" \"secret\"\n\"other\" \"x\"\n")), "admitted");
  EXPECT_EQ(verdict_under(with_users("\"app\" \"Secret\"\n")),
            "auth_file has another secret for user \"app\" now.");
  EXPECT_EQ(verdict_under(with_users("\"other\" \"secret\"\n")),
            "User \"app\" is not in auth_file any more.");
}

class AChain : public testing::Test {
 protected:
  static tls::PeerChain chain_of(const test::Identity& identity) {
    std::vector<std::uint8_t> der(static_cast<std::size_t>(i2d_X509(identity.certificate(), nullptr)));
    unsigned char* end = der.data();
    i2d_X509(identity.certificate(), &end);
    return {der};
  }
  [[nodiscard]] std::shared_ptr<const tls::ClientContext> context(const test::Identity& root) const {
    tls::ClientSettings settings;
    settings.sslrootcert = folder_.write("root.crt", root.certificate_pem());
    return tls::ClientContext::build(settings).value();
  }

  test::TemporaryFolder folder_;
  test::Identity root_ = test::authority("Test Root");
  test::CertificateRequest request_{.common_names = {"db.example.com"},
                                    .alternative_names = {},
                                    .extended_key_usage = {},
                                    .name_constraints = {}};
};

TEST_F(AChain, IsVerifiedOnceInAPass) {
  const auto trusted = context(root_);
  const auto stranger = context(test::authority("Other Root"));
  const auto chain = chain_of(test::issued_by(root_, request_));
  const auto other_chain = chain_of(test::issued_by(root_, request_));
  ChainVerdicts verdicts;
  const auto& verdict = verdicts.of_server(*trusted, chain, "db.example.com");
  EXPECT_FALSE(verdict.has_value());
  EXPECT_EQ(&verdicts.of_server(*trusted, chain, "db.example.com"), &verdict);
  EXPECT_NE(&verdicts.of_server(*trusted, other_chain, "db.example.com"), &verdict);
  EXPECT_TRUE(verdicts.of_server(*trusted, chain, "other.example.com").has_value());
  EXPECT_TRUE(verdicts.of_server(*stranger, chain, "db.example.com").has_value());
}

}  // namespace
}  // namespace pgveil::proxy
