#include "proxy/commands/doctor_arguments.h"

#include <gtest/gtest.h>

namespace pgveil::proxy {
namespace {

DoctorArguments given(const std::string& server) {
  DoctorArguments arguments;
  arguments.server = server;
  return arguments;
}

UpstreamConfig server_of(const DoctorArguments& arguments) {
  const auto request = read_doctor_request(arguments, "");
  if (request) return *request->server;
  ADD_FAILURE() << request.error().errors;
  return {};
}

std::string error_of(const DoctorArguments& arguments) {
  const auto request = read_doctor_request(arguments, "");
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
  const auto request = read_doctor_request(arguments, "");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->server->tls.sslrootcert, "/b");
  EXPECT_EQ(request->login.user, "ben");
  EXPECT_EQ(request->login.database, "x");
}

TEST(DoctorArguments, NoteWhatHasNoEffect) {
  const auto request = read_doctor_request(given("host=db01 password=secret sslmode=require options=-c"), "");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->notes,
            (std::vector<std::string>{"password is ignored: no password is sent",
                                      "sslmode=require is ignored: the verdict is that of verify-full",
                                      "options is ignored"}));
}

TEST(DoctorArguments, ShowNoPasswordInAnError) {
  for (const char* server : {"ann:secret@db01", "http://ann:secret@db01", "host=db01 password='secret",
                             "postgresql://ann:secret@db01:99999", "password=secret"}) {
    const std::string error = error_of(given(server));
    EXPECT_FALSE(error.empty()) << server;
    EXPECT_EQ(error.find("secret"), std::string::npos) << error;
  }
}

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
