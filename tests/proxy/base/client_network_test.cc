#include "proxy/base/client_network.h"

#include <gtest/gtest.h>

#include <string>

namespace pgveil::proxy {
namespace {

ClientNetwork network(const std::string& host) {
  return *ClientNetwork::of(*kernel_address(SocketAddress{.host = host, .port = 1, .unix_path = ""}));
}

TEST(ClientNetwork, IsAnIpv4Address) {
  EXPECT_EQ(network("192.0.2.1").text(), "192.0.2.1");
  EXPECT_EQ(network("192.0.2.1"), network("192.0.2.1"));
  EXPECT_NE(network("192.0.2.1"), network("192.0.2.2"));
}

TEST(ClientNetwork, IsThe64OfAnIpv6Address) {
  EXPECT_EQ(network("2001:db8:1:2:3:4:5:6").text(), "2001:db8:1:2::/64");
  EXPECT_EQ(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2:ffff::"));
  EXPECT_NE(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
}

TEST(ClientNetwork, DiffersBetweenTheFamilies) {
  EXPECT_NE(network("0.0.0.1"), network("::1"));
}

TEST(ClientNetwork, IsNothingForAUnixSocket) {
  EXPECT_FALSE(ClientNetwork::of(*unix_address("/tmp/socket")).has_value());
}

}  // namespace
}  // namespace pgveil::proxy
