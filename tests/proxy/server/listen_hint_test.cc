// What to do about an address that cannot be listened on.
#include "proxy/server/listen_hint.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "proxy/base/descriptor.h"
#include "tests/support/file_owner.h"

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

TEST(ListenHint, NamesTheUserIfTheProcessIsNotSeen) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs another user";
  const auto any = kernel_address(tcp("127.0.0.1", 0));
  const Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(socket.get(), any->get(), any->size), 0);
  ASSERT_EQ(::listen(socket.get(), 1), 0);
  const auto port = port_of(bound_address(socket.get()));
  const auto hint = [&] {
    ::close(socket.get());  // the child process must not have the socket itself
    return listen_hint(tcp("127.0.0.1", port), EADDRINUSE);
  };
  EXPECT_EQ(
      test::run_as(test::kAnotherUser, hint),
      fmt::format("A process of the user \"root\" listens there; \"ss -tanp sport = :{}\" as root shows "
                  "which. Stop it, or use another port.",
                  port));
}

TEST(ListenHint, SaysHowToFindAProcessThatIsNotSeen) {
  EXPECT_EQ(
      listen_hint(tcp("127.0.0.1", 1), EADDRINUSE),
      "Another process uses this port; \"ss -tanp sport = :1\" as root shows which. Stop it, or use another "
      "port.");
}

TEST(ListenHint, NamesTheProcessThatHasTheNameOfAUnixSocket) {
  const SocketAddress address{
      .host = "", .port = 0, .unix_path = fmt::format("@pgveil-listen-hint-{}", ::getpid())};
  EXPECT_EQ(listen_hint(address, EADDRINUSE),
            "Another process uses this name. Stop it, or use another name.");
  const auto name = kernel_address(address);
  const Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(socket.get(), name->get(), name->size), 0);
  ASSERT_EQ(::listen(socket.get(), 1), 0);
  EXPECT_EQ(listen_hint(address, EADDRINUSE),
            fmt::format("Process {} (server_test) listens there. Stop it, or use another name.", ::getpid()));
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

TEST(ListenHint, OfAPortWithoutPrivilegeIsAboutAPolicy) {
  EXPECT_EQ(listen_hint(tcp("0.0.0.0", 65'535), EACCES),
            "A security policy of this machine, such as SELinux, does not allow it.");
}

TEST(ListenHint, OfAFamilyThatIsMissingNamesTheOther) {
  EXPECT_EQ(listen_hint(tcp("::1", 5432), EAFNOSUPPORT),
            "This machine has no addresses of this family: use IPv4 in place of IPv6, or IPv6.");
}

TEST(ListenHint, OfAnotherErrorIsToUseAnotherAddress) {
  EXPECT_EQ(listen_hint(tcp("0.0.0.0", 5432), EINVAL), "Use another address.");
}

TEST(ListenHint, OfLackingResourcesNamesTheLimit) {
  const auto hint = [](int error) { return listen_hint(tcp("0.0.0.0", 5432), error); };
  EXPECT_EQ(
      hint(EMFILE),
      "Raise the limit of open files of this process: LimitNOFILE in a systemd unit, \"ulimit -n\" in a shell.");
  EXPECT_EQ(hint(ENFILE), "Raise the limit of open files of the system, the sysctl fs.file-max.");
  EXPECT_EQ(hint(ENOSPC),
            "Raise the sysctl fs.epoll.max_user_watches, the number of sockets that a user may watch.");
  EXPECT_EQ(hint(ENOMEM), "The system has no memory for another socket. Free some memory.");
}

TEST(AcceptHint, NamesTheLimitThatIsReached) {
  EXPECT_EQ(accept_hint(EMFILE), "New connections wait. " + listen_hint(tcp("0.0.0.0", 5432), EMFILE));
  EXPECT_EQ(accept_hint(ENFILE),
            "New connections wait. Raise the limit of open files of the system, the sysctl fs.file-max.");
  EXPECT_EQ(accept_hint(ENOBUFS),
            "New connections wait. The system has no memory for another socket. Free some memory.");
}

TEST(ListenHint, OfASocketFileIsAboutItsDirectory) {
  const SocketAddress file{.host = "", .port = 0, .unix_path = "/run/pgveil/.s.PGSQL.5432"};
  EXPECT_EQ(listen_hint(file, EACCES), "Let the user of this process write to the directory of the socket.");
  EXPECT_EQ(listen_hint(file, ENOENT), "Create the directory of the socket.");
}

}  // namespace
}  // namespace pgveil::proxy
