#include "proxy/session/client_origin.h"

#include <gtest/gtest.h>

#include <string>

namespace pgveil::proxy {
namespace {

KernelAddress address(const std::string& host, std::uint16_t port = 40'000) {
  return *kernel_address(SocketAddress{.host = host, .port = port, .unix_path = ""});
}

KernelAddress unix_client() {
  KernelAddress unnamed;
  unnamed.storage.ss_family = AF_UNIX;
  unnamed.size = sizeof unnamed.storage.ss_family;
  return unnamed;
}

protocol::ProxyHeader header(const std::string& source, const std::string& destination) {
  return {.addresses =
              protocol::ProxyAddresses{.source = {*protocol::parse_ip_address(source), 56'324},
                                       .destination = {*protocol::parse_ip_address(destination), 5432}}};
}

// "SOURCE SOURCE_PORT DESTINATION_PORT" of the header for a server, or "LOCAL".
std::string sent(const ClientOrigin& origin, const KernelAddress& local,
                 const std::optional<protocol::ProxyEndpoint>& told = std::nullopt) {
  const auto header = origin.header_for_server(told, local);
  if (!header.addresses) return "LOCAL";
  const auto& [source, destination] = *header.addresses;
  return std::string(source.address.is_ipv6 ? "IPv6" : "IPv4") + ' ' + std::to_string(source.port) + ' ' +
         std::to_string(destination.port);
}

TEST(AClientOrigin, IsTheAddressOfTheConnection) {
  const ClientOrigin origin(address("192.0.2.7"));
  EXPECT_EQ(origin.address().text(), "192.0.2.7:40000");
  EXPECT_FALSE(origin.is_local());
  EXPECT_TRUE(ClientOrigin(address("127.0.0.1")).is_local());
  EXPECT_TRUE(ClientOrigin(address("::1")).is_local());
  EXPECT_TRUE(ClientOrigin(unix_client()).is_local());
}

TEST(AClientOrigin, IsTheAddressInAHeader) {
  ClientOrigin origin(address("127.0.0.1"));
  origin.apply(header("192.0.2.7", "198.51.100.9"));
  EXPECT_EQ(origin.address().text(), "192.0.2.7:56324");
}

TEST(AClientOrigin, IsAnIpv4AddressIfTheHeaderMapsIt) {
  ClientOrigin origin(address("10.0.0.1"));
  origin.apply(header("::ffff:192.0.2.7", "::ffff:198.51.100.9"));
  EXPECT_EQ(origin.address().text(), "192.0.2.7:56324");
  origin.apply(header("2001:db8::7", "2001:db8::9"));
  EXPECT_EQ(origin.address().text(), "[2001:db8::7]:56324");
}

TEST(AClientOrigin, StaysWithoutAnAddressInTheHeader) {
  ClientOrigin origin(address("127.0.0.1"));
  origin.apply({});
  EXPECT_EQ(origin.address().text(), "127.0.0.1:40000");
}

// The header may be for a client of the network, whatever it says.
TEST(AClientOrigin, IsNeverLocalWithAHeader) {
  for (const auto& sent : {protocol::ProxyHeader{}, header("127.0.0.1", "127.0.0.1")}) {
    for (const auto& connection : {address("127.0.0.1"), unix_client()}) {
      ClientOrigin origin(connection);
      origin.apply(sent);
      EXPECT_FALSE(origin.is_local());
    }
  }
}

TEST(AClientOrigin, IsSentToAServer) {
  EXPECT_EQ(sent(ClientOrigin(address("192.0.2.7")), address("10.0.0.1", 6432)), "IPv4 40000 6432");
  EXPECT_EQ(sent(ClientOrigin(address("2001:db8::7")), address("fd00::1", 6432)), "IPv6 40000 6432");
  EXPECT_EQ(sent(ClientOrigin(unix_client()), unix_client()), "LOCAL");
}

TEST(AClientOrigin, IsSentToAServerWithTheDestinationInTheHeader) {
  ClientOrigin origin(unix_client());
  origin.apply(header("192.0.2.7", "198.51.100.9"));
  EXPECT_EQ(sent(origin, unix_client(), header("192.0.2.7", "198.51.100.9").addresses->destination),
            "IPv4 56324 5432");
  EXPECT_EQ(sent(origin, unix_client()), "LOCAL");
}

}  // namespace
}  // namespace pgveil::proxy
