#include "proxy/config/trusted_proxies.h"

#include <gtest/gtest.h>

#include <string>

namespace pgveil::proxy {
namespace {

KernelAddress client(const std::string& host) {
  return *kernel_address(SocketAddress{.host = host, .port = 40'000, .unix_path = ""});
}

TrustedProxies proxies(std::initializer_list<const char*> networks) {
  TrustedProxies proxies;
  for (const auto* text : networks) proxies.networks.push_back(parse_ip_network(text).value());
  return proxies;
}

struct Membership {
  const char* network;
  const char* address;
  bool is_member;
};
void PrintTo(const Membership& row, std::ostream* out) {
  *out << row.address << " in " << row.network;
}
class ANetworkOfProxies : public testing::TestWithParam<Membership> {};

TEST_P(ANetworkOfProxies, HasItsAddressesAndNoOthers) {
  const auto [network, address, is_member] = GetParam();
  EXPECT_EQ(proxies({network}).contains(client(address)), is_member);
  EXPECT_EQ(proxies({"203.0.113.1", network}).contains(client(address)), is_member);
}

INSTANTIATE_TEST_SUITE_P(
    TrustedProxies, ANetworkOfProxies,
    testing::Values(
        Membership{"10.0.0.0/8", "10.255.0.1", true}, Membership{"10.0.0.0/8", "11.0.0.1", false},
        Membership{"10.1.2.3/8", "10.0.0.1", true}, Membership{"192.0.2.128/25", "192.0.2.128", true},
        Membership{"192.0.2.128/25", "192.0.2.127", false}, Membership{"192.0.2.7", "192.0.2.7", true},
        Membership{"192.0.2.7", "192.0.2.6", false}, Membership{"192.0.2.7/32", "192.0.2.7", true},
        Membership{"0.0.0.0/0", "203.0.113.9", true}, Membership{"0.0.0.0/0", "2001:db8::1", false},
        Membership{"::/0", "2001:db8::1", true}, Membership{"::/0", "192.0.2.7", false},
        Membership{"2001:db8::/33", "2001:db8:7fff::1", true},
        Membership{"2001:db8::/33", "2001:db8:8000::1", false},
        Membership{"192.0.2.0/24", "::ffff:192.0.2.7", false}));

TEST(ANetworkOfProxies, IsAnAddressWithAPrefixLength) {
  for (const char* text : {"", "10.0.0.0/", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/-1", "10.0.0.0/8 ",
                           "10.0.0.0/255.0.0.0", "db01", "[::1]/128"})
    EXPECT_FALSE(parse_ip_network(text)) << text;
  EXPECT_EQ(parse_ip_network("fd00::/8")->text(), "fd00::/8");
  EXPECT_EQ(parse_ip_network("192.0.2.7")->text(), "192.0.2.7/32");
}

TEST(TrustedProxiesOfAUnixSocket, AreAllOfItsClientsOrNone) {
  KernelAddress unnamed;
  unnamed.storage.ss_family = AF_UNIX;
  unnamed.size = sizeof unnamed.storage.ss_family;
  TrustedProxies unix_clients;
  EXPECT_FALSE(unix_clients.contains(unnamed));
  EXPECT_FALSE(proxies({"0.0.0.0/0", "::/0"}).contains(unnamed));
  unix_clients.unix_clients = true;
  EXPECT_TRUE(unix_clients.contains(unnamed));
  EXPECT_FALSE(unix_clients.contains(client("127.0.0.1")));
}

TEST(TrustedProxiesOnThisMachine, HaveLoopbackAddressesOnly) {
  EXPECT_TRUE(proxies({"127.0.0.0/8", "::1", "127.0.0.5"}).are_local());
  EXPECT_FALSE(proxies({"127.0.0.1", "10.0.0.1"}).are_local());
  EXPECT_FALSE(proxies({"126.0.0.0/7"}).are_local());
  EXPECT_FALSE(proxies({"::/0"}).are_local());
}

}  // namespace
}  // namespace pgveil::proxy
