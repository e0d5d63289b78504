#include "proxy/base/socket_address.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstddef>
#include <string>

namespace pgveil::proxy {
namespace {

std::string text_of(const std::string& host, std::uint16_t port = 5432) {
  const auto address = kernel_address(SocketAddress{.host = host, .port = port, .unix_path = ""});
  return address ? address->text() : "none";
}

TEST(KernelAddresses, AreShownAsTheyAreWritten) {
  EXPECT_EQ(text_of("127.0.0.1"), "127.0.0.1:5432");
  EXPECT_EQ(text_of("::1"), "[::1]:5432");
  EXPECT_EQ(text_of("localhost"), "none") << "stands for several";
}

TEST(KernelAddresses, HaveTheZoneOfAnInterface) {
  EXPECT_EQ(text_of("fe80::1%lo"), "[fe80::1%lo]:5432");
  EXPECT_EQ(text_of("fe80::1%1"), "[fe80::1%lo]:5432");
  EXPECT_EQ(text_of("fe80::1%nosuchif0"), "none");
  EXPECT_EQ(text_of("fe80::1%4000000"), "none");
  EXPECT_EQ(text_of("fe80::1%"), "none");
}

TEST(KernelAddresses, OfALinkAreNotLoopback) {
  const auto address = kernel_address(SocketAddress{.host = "fe80::1%lo", .port = 1, .unix_path = ""});
  ASSERT_TRUE(address);
  EXPECT_FALSE(address->is_loopback());
}

TEST(KernelAddresses, AreWrittenAsTheyAreRead) {
  for (const auto& [host, text] :
       {std::pair{"127.0.0.1", "127.0.0.1:5432"}, std::pair{"255.10.0.249", "255.10.0.249:5432"},
        std::pair{"::1", "[::1]:5432"}, std::pair{"2001:db8::a", "[2001:db8::a]:5432"}}) {
    const auto address = kernel_address(SocketAddress{.host = host, .port = 5432, .unix_path = ""});
    ASSERT_TRUE(address) << host;
    EXPECT_EQ(address->text(), text);
  }
}

TEST(KernelAddresses, OfTheAbstractNamespaceAreNamesWithoutANul) {
  const auto address = unix_address("@pgveil/.s.PGSQL.5432");
  ASSERT_TRUE(address);
  EXPECT_EQ(address->size, offsetof(sockaddr_un, sun_path) + std::string("@pgveil/.s.PGSQL.5432").size());
  EXPECT_EQ(address->text(), "unix:@pgveil/.s.PGSQL.5432");
}

}  // namespace
}  // namespace pgveil::proxy
