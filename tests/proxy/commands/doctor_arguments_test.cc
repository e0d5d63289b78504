#include "proxy/commands/doctor_arguments.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>

#include "tests/support/failing_memory.h"

namespace pgveil::proxy {
namespace {

DoctorArguments given(const std::string& server) {
  DoctorArguments arguments;
  arguments.server = server;
  return arguments;
}

UpstreamConfig server_of(const DoctorArguments& arguments) {
  const auto request = read_doctor_request(arguments, {});
  if (request) return *request->server;
  ADD_FAILURE() << request.error().errors;
  return {};
}

std::string error_of(const DoctorArguments& arguments) {
  const auto request = read_doctor_request(arguments, {});
  return request ? "" : request.error().errors;
}

using Hosts = std::vector<UpstreamHost>;

TEST(DoctorArguments, OfAHostHaveDefaults) {
  const auto server = server_of(given("db01"));
  EXPECT_EQ(server.hosts, (Hosts{{.host = "db01", .hostaddr = "", .port = 5432}}));
  EXPECT_EQ(server.tls.sslrootcert, "system");
  EXPECT_EQ(server.connect_timeout, std::chrono::seconds(5));
  EXPECT_EQ(server.sslnegotiation, SslNegotiation::postgres);
  EXPECT_TRUE(server.name.empty());
}

TEST(DoctorArguments, MayHaveSeveralHostsWithAddresses) {
  auto arguments = given("db01:5433,[::1]");
  arguments.hostaddr = "10.0.0.1,10.0.0.2";
  EXPECT_EQ(server_of(arguments).hosts, (Hosts{{.host = "db01", .hostaddr = "10.0.0.1", .port = 5433},
                                               {.host = "::1", .hostaddr = "10.0.0.2", .port = 5432}}));
}

TEST(DoctorArguments, MayBeAConnectionString) {
  const auto server = server_of(
      given("host=db01,::1 port=5433 sslrootcert=/root.crt connect_timeout=3 sslnegotiation=direct"));
  EXPECT_EQ(server.hosts, (Hosts{{.host = "db01", .hostaddr = "", .port = 5433},
                                 {.host = "::1", .hostaddr = "", .port = 5433}}));
  EXPECT_EQ(server.tls.sslrootcert, "/root.crt");
  EXPECT_EQ(server.connect_timeout, std::chrono::seconds(3));
  EXPECT_EQ(server.sslnegotiation, SslNegotiation::direct);
}

TEST(DoctorArguments, OverrideAConnectionString) {
  auto arguments = given("host=db01 sslrootcert=/a user=ann dbname=x");
  arguments.sslrootcert = "/b";
  arguments.user = "ben";
  const auto request = read_doctor_request(arguments, {});
  ASSERT_TRUE(request);
  EXPECT_EQ(request->server->tls.sslrootcert, "/b");
  EXPECT_EQ(request->login.user, "ben");
  EXPECT_EQ(request->login.database, "x");
}

TEST(DoctorArguments, NoteWhatHasNoEffect) {
  const auto request = read_doctor_request(given("host=db01 password=secret options=-c"), {});
  ASSERT_TRUE(request);
  EXPECT_EQ(request->notes,
            (std::vector<std::string>{"options is ignored", "password has no effect without user"}));
}

TEST(DoctorArguments, NoteWhatHasNoEffectWithoutALogin) {
  const std::vector<std::string> expected{"dbname has no effect without user",
                                          "passfile has no effect without user"};
  const auto of_server = read_doctor_request(given("host=db01 dbname=ledger passfile=/x"), {});
  ASSERT_TRUE(of_server);
  EXPECT_EQ(of_server->notes, expected);
  DoctorArguments arguments;
  arguments.dbname = "ledger";
  arguments.passfile = "/x";
  const auto of_configuration = configured_doctor_request(arguments);
  ASSERT_TRUE(of_configuration);
  EXPECT_EQ(of_configuration->notes, expected);
  arguments.user = "ann";
  EXPECT_TRUE(configured_doctor_request(arguments)->notes.empty());
}

// libpq waits without a limit.
TEST(DoctorArguments, NoteAConnectTimeoutThatIsNoLimit) {
  for (const char* value : {"0", "-1"}) {
    const auto request = read_doctor_request(given(std::string("host=db01 connect_timeout=") + value), {});
    ASSERT_TRUE(request) << value;
    EXPECT_EQ(request->server->connect_timeout, std::chrono::seconds(5));
    ASSERT_EQ(request->notes.size(), 1U);
    EXPECT_TRUE(request->notes[0].starts_with("connect_timeout=")) << request->notes[0];
  }
  for (const char* value : {"''", "1s", "99999999999"})
    EXPECT_NE(error_of(given(std::string("host=db01 connect_timeout=") + value)).find("of connect_timeout"),
              std::string::npos)
        << value;
}

TEST(DoctorArguments, HaveTheFirstPasswordThatLibpqWouldTake) {
  const auto source = [](const std::string& server, const DoctorVariables& variables) {
    const auto request = read_doctor_request(given(server), variables);
    if (!request || !request->login.password) return std::string("none");
    return request->login.password_source + ": " + std::string(request->login.password->view());
  };
  EXPECT_EQ(source("host=db01 user=ann password=a", {.password = "b"}), "the connection string: a");
  EXPECT_EQ(source("host=db01 user=ann password=''", {.password = "b"}), "PGPASSWORD: b");
  EXPECT_EQ(source("host=db01 user=ann", {.password = "b"}), "PGPASSWORD: b");
  EXPECT_EQ(source("host=db01 user=ann", {}), "none");
}

TEST(DoctorArguments, HaveTheDefaultPasswordFileOfLibpq) {
  const auto file = [](const DoctorVariables& variables) {
    return read_doctor_request(given("db01"), variables)->default_passfile;
  };
  EXPECT_EQ(file({.passfile = "/x", .home = "/home/ann"}), "/x");
  EXPECT_EQ(file({.home = "/home/ann"}), "/home/ann/.pgpass");
  EXPECT_EQ(file({}), "");
  EXPECT_EQ(read_doctor_request(given("host=db01 passfile=/y"), {})->passfile, "/y");
}

TEST(DoctorArguments, HaveTheTermsOfALoginFromAConnectionString) {
  const auto server = server_of(given("host=db01 channel_binding=require require_auth=scram-sha-256"));
  EXPECT_EQ(server.channel_binding, protocol::ChannelBinding::require);
  EXPECT_EQ(server.require_auth, AuthMethods{AuthMethod::scram_sha_256});
  EXPECT_NE(error_of(given("host=db01 require_auth=magic")).find("require_auth"), std::string::npos);
}

TEST(DoctorArguments, HaveOneSslmodeOrAll) {
  EXPECT_TRUE(read_doctor_request(given("db01"), {})->sslmodes.empty());
  EXPECT_EQ(read_doctor_request(given("host=db01 sslmode=require"), {})->sslmodes,
            std::vector<std::string>{"require"});
  auto arguments = given("host=db01 sslmode=require");
  arguments.sslmode = "all";
  EXPECT_EQ(read_doctor_request(arguments, {})->sslmodes.size(), 6U);
  arguments.sslmode = "verify";
  EXPECT_NE(error_of(arguments).find("invalid value \"verify\" of --sslmode"), std::string::npos);
}

TEST(DoctorArguments, OfAServerCannotBeCombinedWithAConfiguration) {
  DoctorArguments arguments;
  EXPECT_TRUE(configured_doctor_request(arguments));
  arguments.sslcrl = "root.crl";
  const auto request = configured_doctor_request(arguments);
  ASSERT_FALSE(request);
  EXPECT_NE(request.error().errors.find("--sslcrl requires a server"), std::string::npos);
}

TEST(DoctorArguments, ShowNoPasswordInAnError) {
  for (const char* server : {"ann:secret@db01", "http://ann:secret@db01", "host=db01 password='secret",
                             "postgresql://ann:secret@db01:99999", "password=secret"}) {
    const std::string error = error_of(given(server));
    EXPECT_FALSE(error.empty()) << server;
    EXPECT_EQ(error.find("secret"), std::string::npos) << error;
  }
}

// Of the copies that are made only those in the request live on, and these wipe themselves.
class DoctorArgumentsWithASecret : public testing::TestWithParam<const char*> {
 protected:
  // Returns how many copies are in memory that was freed. The test itself must free none before.
  static std::size_t copies_freed(const DoctorArguments& arguments, const DoctorVariables& variables = {}) {
    const test::FreedCopies freed(GetParam());
    static_cast<void>(read_doctor_request(arguments, variables));
    return freed.count();
  }
};

TEST_P(DoctorArgumentsWithASecret, LeaveNoneInMemoryThatIsFreed) {
  std::array<DoctorArguments, 5> all;
  all[0].server = fmt::format("host=db01 user=ann sslpassword='{}' sslcert=/c sslkey=/k", GetParam());
  all[1].server =
      fmt::format("user=ann dbname=x port=1 password='{}' sslcert=/c sslkey=/k host=db01", GetParam());
  all[2].server = fmt::format("host=db01 sslpassword='{}' sslnegotiation=magic", GetParam());
  all[3].server = fmt::format("sslpassword='{}'", GetParam());
  all[4].server = fmt::format("postgresql://ann:{}@db01/x?user=ben&sslcert=/c&sslkey=/k", GetParam());
  for (const auto& arguments : all) EXPECT_EQ(copies_freed(arguments), 0U) << &arguments - all.data();
}

TEST_P(DoctorArgumentsWithASecret, TakeItFromAVariable) {
  const DoctorVariables variables{.sslpassword = GetParam(), .password = GetParam()};
  const auto arguments = given("db01");
  EXPECT_EQ(copies_freed(arguments, variables), 0U);
  const auto request = read_doctor_request(arguments, variables);
  ASSERT_TRUE(request && request->key_passphrase);
  EXPECT_EQ(request->key_passphrase->view(), GetParam());
  EXPECT_TRUE(request->server->tls.sslpassword.empty());
}

INSTANTIATE_TEST_SUITE_P(Secrets, DoctorArgumentsWithASecret,
                         testing::Values("open+sesame", "a+passphrase+that+is+longer+than+a+short+string"));

TEST(DoctorArguments, RequireAHost) {
  EXPECT_NE(error_of(given("port=5432")).find("names no host"), std::string::npos);
}

TEST(DoctorArguments, RequireASingleServerToSaveItsChain) {
  auto arguments = given("db01,db02");
  arguments.chain_file = "chain.crt";
  EXPECT_NE(error_of(arguments).find("single server"), std::string::npos);
}

}  // namespace
}  // namespace pgveil::proxy
