#include "proxy/config/address_values.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace pgveil::proxy {
namespace {

TEST(SocketAddresses, AreLoopbackInAllTheirSpellings) {
  for (const char* host : {"127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "localhost"})
    EXPECT_TRUE((SocketAddress{.host = host, .port = 1, .unix_path = ""}.is_loopback())) << host;
  for (const char* host : {"0.0.0.0", "128.0.0.1", "::", "::2", "::ffff:10.0.0.1", "fe80::1%lo", "127.1", ""})
    EXPECT_FALSE((SocketAddress{.host = host, .port = 1, .unix_path = ""}.is_loopback())) << host;
}

TEST(SocketAddresses, AreWrittenAsTheyAreRead) {
  for (const char* text :
       {"127.0.0.1:5432", "[::1]:0", "localhost:5432", "[fe80::1%eth0]:5432", "[fe80::1%2]:5432",
        "unix:/run/pgveil/.s.PGSQL.5432", "unix:@pgveil/.s.PGSQL.6432"})
    EXPECT_EQ(values::ListenAddress::read({values::RawValue::Kind::text, text})->text(), text);
}

TEST(SocketAddresses, HaveShortFormsForTheAbstractNamespace) {
  for (const auto& [text, path] :
       {std::pair{"unix:@pgveil", "@pgveil/.s.PGSQL.5432"}, std::pair{"unix:@a/b", "@a/b/.s.PGSQL.5432"}})
    EXPECT_EQ(values::ListenAddress::read({values::RawValue::Kind::text, text})->unix_path, path);
}

TEST(SocketAddresses, StandForEachAddressOfLocalhost) {
  const auto texts_of = [](const char* text) {
    std::vector<std::string> texts;
    for (const auto& address : values::ListenAddress::read({values::RawValue::Kind::text, text})->each())
      texts.push_back(address.text());
    return texts;
  };
  EXPECT_EQ(texts_of("localhost:5432"), (std::vector<std::string>{"127.0.0.1:5432", "[::1]:5432"}));
  EXPECT_EQ(texts_of("LocalHost:0"), (std::vector<std::string>{"127.0.0.1:0", "[::1]:0"}));
  EXPECT_EQ(texts_of("127.0.0.1:5432"), (std::vector<std::string>{"127.0.0.1:5432"}));
}

}  // namespace
}  // namespace pgveil::proxy
