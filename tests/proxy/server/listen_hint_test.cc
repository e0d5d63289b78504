// What to do about an address that cannot be listened on.
#include "proxy/server/listen_hint.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "proxy/base/descriptor.h"

namespace pgveil::proxy {
namespace {

SocketAddress tcp(const char* host, std::uint16_t port) {
  return {.host = host, .port = port, .unix_path = ""};
}

TEST(ListenHint, NamesTheProcessThatHasThePort) {
  const auto any = kernel_address(tcp("127.0.0.1", 0));
  const Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(socket.get(), any->get(), any->size), 0);
  ASSERT_EQ(::listen(socket.get(), 1), 0);
  const auto port = port_of(bound_address(socket.get()));
  EXPECT_EQ(listen_hint(tcp("0.0.0.0", port), EADDRINUSE),
            fmt::format("Process {} (server_test) listens there. Stop it, or use another port.", ::getpid()));
}

TEST(ListenHint, SaysHowToFindAProcessThatIsNotSeen) {
  EXPECT_EQ(
      listen_hint(tcp("127.0.0.1", 1), EADDRINUSE),
      "Another process listens there; \"ss -ltnp sport = :1\" as root shows which. Stop it, or use another "
      "port.");
}

TEST(ListenHint, OfAnAddressOfAnotherMachineNamesThatForAll) {
  EXPECT_EQ(
      listen_hint(tcp("192.0.2.1", 5432), EADDRNOTAVAIL),
      "No network interface of this machine has this address; \"ip address\" shows those that it has. Use one of "
      "them, or 0.0.0.0 for all.");
  EXPECT_TRUE(listen_hint(tcp("2001:db8::1", 5432), EADDRNOTAVAIL).ends_with("or [::] for all."));
}

TEST(ListenHint, OfAPrivilegedPortNamesTheWaysToIt) {
  int first = 0;
  std::ifstream("/proc/sys/net/ipv4/ip_unprivileged_port_start") >> first;
  if (first < 2) GTEST_SKIP() << "every port is free here";
  EXPECT_EQ(listen_hint(tcp("0.0.0.0", 1), EACCES),
            fmt::format("Ports below {0} need the capability CAP_NET_BIND_SERVICE: in a systemd unit, write "
                        "AmbientCapabilities=CAP_NET_BIND_SERVICE. Or set the sysctl "
                        "net.ipv4.ip_unprivileged_port_start to 1, or use a port from {0} on.",
                        first));
}

TEST(ListenHint, OfASocketFileIsAboutItsDirectory) {
  const SocketAddress file{.host = "", .port = 0, .unix_path = "/run/pgveil/.s.PGSQL.5432"};
  EXPECT_EQ(listen_hint(file, EACCES), "Let the user of this process write to the directory of the socket.");
  EXPECT_EQ(listen_hint(file, ENOENT), "Create the directory of the socket.");
}

}  // namespace
}  // namespace pgveil::proxy
