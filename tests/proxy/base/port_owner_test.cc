// Which process listens on a port: from the text of /proc/net/tcp, and of this process itself.
#include "proxy/base/port_owner.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/descriptor.h"
#include "tests/support/file_owner.h"

namespace pgveil::proxy {
namespace {

using Inodes = std::vector<std::string>;

Inodes conflicting(const ListeningTables& tables, const KernelAddress& address) {
  Inodes inodes;
  for (const auto& socket : conflicting_sockets(tables, address)) inodes.push_back(socket.inode);
  return inodes;
}

KernelAddress address_of(const char* host, std::uint16_t port) {
  return kernel_address(SocketAddress{.host = host, .port = port, .unix_path = ""}).value();
}

constexpr std::string_view kIpv4 =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 111 1 0 100 0 0 10 0\n"
    "   1: 00000000:1539 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 222 1 0 100 0 0 10 0\n"
    "   2: 0100007F:1538 0100007F:C001 01 00000000:00000000 00:00000000 00000000  1000        0 333 1 0 100 0 0 10 0\n";
constexpr std::string_view kIpv6 =
    "  sl  local_address                         remote_address                        st tx_queue\n"
    "   0: 00000000000000000000000001000000:1538 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 "
    "00000000     0        0 444 1 0 100 0 0 10 0\n"
    "   1: 00000000000000000000000000000000:1539 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 "
    "00000000     0        0 555 1 0 100 0 0 10 0\n"
    "   2: 0000000000000000FFFF00000100007F:153A 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 "
    "00000000     0        0 666 1 0 100 0 0 10 0\n"
    // 2001:db8::7f00:1
    "   3: B80D012000000000000000000100007F:153B 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 "
    "00000000     0        0 777 1 0 100 0 0 10 0\n";
constexpr ListeningTables kTables{kIpv4, kIpv6};

TEST(PortOwner, IsASocketThatListensOnTheSamePortAndAddress) {
  EXPECT_EQ(conflicting(kTables, address_of("127.0.0.1", 5432)), Inodes{"111"});
  EXPECT_EQ(conflicting(kTables, address_of("127.0.0.2", 5432)), Inodes{});
  EXPECT_EQ(conflicting(kTables, address_of("127.0.0.1", 5437)), Inodes{});
  EXPECT_EQ(conflicting(kTables, address_of("::1", 5432)), Inodes{"444"});
}

TEST(PortOwner, HasAUser) {
  EXPECT_EQ(conflicting_sockets(kTables, address_of("127.0.0.1", 5432)),
            (std::vector<ListeningSocket>{{"111", 1000}}));
}

TEST(PortOwner, MayHaveAnAddressThatStandsForAll) {
  EXPECT_EQ(conflicting(kTables, address_of("0.0.0.0", 5432)), Inodes{"111"});
  EXPECT_EQ(conflicting(kTables, address_of("::", 5432)), Inodes{"444"});
  EXPECT_EQ(conflicting(kTables, address_of("::1", 5433)), Inodes{"555"});
}

// A socket of [::] may be for IPv6 only.
TEST(PortOwner, OfAnIpv4AddressIsASocketOfAllIpv6AddressesOnlyIfThereIsNoOther) {
  EXPECT_EQ(conflicting(kTables, address_of("192.0.2.1", 5433)), Inodes{"222"});
  EXPECT_EQ(conflicting({"", kIpv6}, address_of("192.0.2.1", 5433)), Inodes{"555"});
  EXPECT_EQ(conflicting({"", kIpv6}, address_of("0.0.0.0", 5433)), Inodes{"555"});
}

TEST(PortOwner, OfAllIpv4AddressesIsNotASocketOfOneIpv6Address) {
  EXPECT_EQ(conflicting({"", kIpv6}, address_of("0.0.0.0", 5432)), Inodes{});
}

TEST(PortOwner, OfAnIpv6AddressIsNotASocketForIpv4) {
  EXPECT_EQ(conflicting({kIpv4, ""}, address_of("::", 5433)), Inodes{});
  EXPECT_EQ(conflicting(kTables, address_of("::", 5434)), Inodes{});
}

TEST(PortOwner, OfAnIpv4AddressMayHaveItsMappedAddress) {
  EXPECT_EQ(conflicting(kTables, address_of("127.0.0.1", 5434)), Inodes{"666"});
  EXPECT_EQ(conflicting(kTables, address_of("0.0.0.0", 5434)), Inodes{"666"});
  EXPECT_EQ(conflicting(kTables, address_of("127.0.0.1", 5435)), Inodes{})
      << "it only ends with the same bytes";
}

TEST(PortOwner, IsNobodyInATableThatCannotBeRead) {
  EXPECT_EQ(conflicting({"", ""}, address_of("127.0.0.1", 5432)), Inodes{});
  EXPECT_EQ(conflicting({"no table\n 0: x 0A\n1 2 3 0A 5 6 7 8 9 10\n1 2:1538 3 0A 5 6 7 user 9 10\n", ""},
                        address_of("127.0.0.1", 5432)),
            Inodes{});
}

TEST(PortOwner, IsFoundAmongTheProcessesOfThisMachine) {
  for (const char* host : {"127.0.0.1", "::1"}) {
    const KernelAddress any = address_of(host, 0);
    const Descriptor socket(::socket(any.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::bind(socket.get(), any.get(), any.size) != 0) continue;  // no IPv6 here
    EXPECT_FALSE(owner_of_port(bound_address(socket.get()))) << "it does not listen yet";
    ASSERT_EQ(::listen(socket.get(), 1), 0);
    const auto owner = owner_of_port(bound_address(socket.get()));
    ASSERT_TRUE(owner.has_value());
    EXPECT_EQ(owner->process, ::getpid());
    EXPECT_EQ(owner->name, "base_test");
  }
}

// Returns the process and the user of the owner of `socket`'s address, as another user sees them. The process of that
// user does not have the socket itself.
std::string seen_by_another_user(const Descriptor& socket) {
  const KernelAddress address = bound_address(socket.get());
  return test::run_as(test::kAnotherUser, [&] {
    ::close(socket.get());
    const auto owner = owner_of_port(address);
    return owner ? std::to_string(owner->process) + ' ' + std::to_string(owner->user) : "nobody";
  });
}

TEST(PortOwner, OfAnotherUserIsKnownByItsUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs another user";
  const KernelAddress any = address_of("127.0.0.1", 0);
  const Descriptor socket(::socket(any.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(socket.get(), any.get(), any.size), 0);
  ASSERT_EQ(::listen(socket.get(), 1), 0);
  EXPECT_EQ(seen_by_another_user(socket), "0 0");
}

TEST(PortOwner, OfAUnixSocketIsTheProcessThatListensOnIt) {
  const KernelAddress name = unix_address("@pgveil-port-owner-" + std::to_string(::getpid())).value();
  EXPECT_FALSE(owner_of_port(name));
  const Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(socket.get(), name.get(), name.size), 0);
  ASSERT_EQ(::listen(socket.get(), 2), 0);
  const auto owner = owner_of_port(name);
  ASSERT_TRUE(owner.has_value());
  EXPECT_EQ(owner->process, ::getpid());
  EXPECT_EQ(owner->name, "base_test");
  if (::geteuid() != 0) return;
  EXPECT_EQ(seen_by_another_user(socket), std::to_string(::getpid()) + " 0");
}

}  // namespace
}  // namespace pgveil::proxy
