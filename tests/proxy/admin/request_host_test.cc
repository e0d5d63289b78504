#include "proxy/admin/request_host.h"

#include <gtest/gtest.h>

namespace pgveil::proxy {
namespace {

AdminConfig config_of(const SocketAddress& address) {
  AdminConfig config;
  config.address = address;
  return config;
}

TEST(RequestHost, OfThisMachineIsAccepted) {
  for (const char* host : {"", "localhost", "LOCALHOST", "localhost:9187", "127.0.0.1", "127.0.0.1:9187",
                           "10.1.2.3:80", "[::1]", "[::1]:9187", "[::ffff:127.0.0.1]:1"})
    EXPECT_TRUE(accepts(AcceptedHosts::local, host)) << host;
}

TEST(RequestHost, OfAnotherNameIsNotAccepted) {
  for (const char* host : {"rebound.example", "rebound.example:9187", "localhost.rebound.example",
                           "localhost.", "127.0.0.1.example", "0x7f000001", "127.1", "::1", "[::1", "[]",
                           "[rebound.example]", ":9187", " localhost", "localhost@rebound"})
    EXPECT_FALSE(accepts(AcceptedHosts::local, host)) << host;
}

TEST(RequestHost, MayBeAnyNameIfThatIsSet) {
  EXPECT_TRUE(accepts(AcceptedHosts::any, "pgveil.example:9187"));
}

TEST(RequestHost, IsCheckedAtALoopbackAddressOnly) {
  const SocketAddress loopback{.host = "127.0.0.1", .port = 9187, .unix_path = ""};
  EXPECT_EQ(accepted_hosts(config_of(loopback)), AcceptedHosts::local);
  EXPECT_EQ(accepted_hosts(config_of({.host = "localhost", .port = 9187, .unix_path = ""})),
            AcceptedHosts::local);
  EXPECT_EQ(accepted_hosts(config_of({.host = "", .port = 0, .unix_path = "/run/admin.sock"})),
            AcceptedHosts::any);
  AdminConfig network = config_of({.host = "0.0.0.0", .port = 9187, .unix_path = ""});
  network.allow_from_network = true;
  EXPECT_EQ(accepted_hosts(network), AcceptedHosts::any);
}

}  // namespace
}  // namespace pgveil::proxy
