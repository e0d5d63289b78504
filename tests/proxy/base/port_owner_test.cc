// Which process listens on a port: from the text of /proc/net/tcp, and of this process itself.
#include "proxy/base/port_owner.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/descriptor.h"

namespace pgveil::proxy {
namespace {

using Inodes = std::vector<std::string>;

KernelAddress address_of(const char* host, std::uint16_t port) {
  return kernel_address(SocketAddress{.host = host, .port = port, .unix_path = ""}).value();
}

constexpr std::string_view kTable =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 111 1 0 100 0 0 10 0\n"
    "   1: 00000000:1539 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 222 1 0 100 0 0 10 0\n"
    "   2: 0100007F:1538 0100007F:C001 01 00000000:00000000 00:00000000 00000000  1000        0 333 1 0 100 0 0 10 0\n";
constexpr std::string_view kTableOfIpv6 =
    "  sl  local_address                         remote_address                        st tx_queue\n"
    "   0: 00000000000000000000000001000000:1538 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 "
    "00000000     0        0 444 1 0 100 0 0 10 0\n"
    "   1: 00000000000000000000000000000000:1539 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 "
    "00000000     0        0 555 1 0 100 0 0 10 0\n"
    "   2: 0000000000000000FFFF00000100007F:153A 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 "
    "00000000     0        0 666 1 0 100 0 0 10 0\n";

TEST(PortOwner, IsASocketThatListensOnTheSamePortAndAddress) {
  EXPECT_EQ(listening_inodes(kTable, address_of("127.0.0.1", 5432)), Inodes{"111"});
  EXPECT_EQ(listening_inodes(kTable, address_of("127.0.0.2", 5432)), Inodes{});
  EXPECT_EQ(listening_inodes(kTable, address_of("127.0.0.1", 5434)), Inodes{});
  EXPECT_EQ(listening_inodes(kTableOfIpv6, address_of("::1", 5432)), Inodes{"444"});
}

TEST(PortOwner, MayHaveAnAddressThatStandsForAll) {
  EXPECT_EQ(listening_inodes(kTable, address_of("0.0.0.0", 5432)), Inodes{"111"});
  EXPECT_EQ(listening_inodes(kTable, address_of("192.0.2.1", 5433)), Inodes{"222"});
  EXPECT_EQ(listening_inodes(kTableOfIpv6, address_of("192.0.2.1", 5433)), Inodes{"555"});
}

TEST(PortOwner, MayHaveAMappedAddress) {
  EXPECT_EQ(listening_inodes(kTableOfIpv6, address_of("127.0.0.1", 5434)), Inodes{"666"});
}

TEST(PortOwner, IsNobodyInATableThatCannotBeRead) {
  EXPECT_EQ(listening_inodes("", address_of("127.0.0.1", 5432)), Inodes{});
  EXPECT_EQ(listening_inodes("no table\n 0: x 0A\n1 2 3 0A 5 6 7 8 9 10\n", address_of("127.0.0.1", 5432)),
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

}  // namespace
}  // namespace pgveil::proxy
