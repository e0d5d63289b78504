#include "proxy/config/connection_string.h"

#include <gtest/gtest.h>

namespace pgveil::proxy {
namespace {

struct Accepted {
  const char* name;
  std::string text;
  ConnectionParameters parameters;
};

class AConnectionString : public testing::TestWithParam<Accepted> {};

TEST_P(AConnectionString, HasParameters) {
  ASSERT_TRUE(is_connection_string(GetParam().text));
  const auto parsed = parse_connection_string(GetParam().text);
  ASSERT_TRUE(parsed) << parsed.error().text();
  EXPECT_EQ(*parsed, GetParam().parameters);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Forms, AConnectionString,
    testing::Values(
        Accepted{"Keywords", "host=db01 port = 5433", {{"host", "db01"}, {"port", "5433"}}},
        Accepted{"QuotedValues", R"(user='o\'hara' dbname='two words' application_name=a\ b)",
                 {{"user", "o'hara"}, {"dbname", "two words"}, {"application_name", "a b"}}},
        Accepted{"AnEmptyValue", "user='' host=db01", {{"user", ""}, {"host", "db01"}}},
        Accepted{"Uri", "postgresql://ann:secret@db01:5433/ledger?sslmode=require&sslrootcert=/etc/root.crt",
                 {{"user", "ann"}, {"password", "secret"}, {"host", "db01"}, {"port", "5433"}, {"dbname", "ledger"},
                  {"sslmode", "require"}, {"sslrootcert", "/etc/root.crt"}}},
        Accepted{"ShortUri", "postgres://db01", {{"host", "db01"}}},
        Accepted{"EncodedUri", "postgresql://a%40b:p%3Aq@db01/%20x", {{"user", "a@b"}, {"password", "p:q"}, {"host", "db01"}, {"dbname", " x"}}},
        Accepted{"PasswordWithAnAt", "postgresql://ann:p@ss@db01", {{"user", "ann"}, {"password", "p@ss"}, {"host", "db01"}}},
        Accepted{"SeveralHosts", "postgresql://db01:5433,[::1],db02/x", {{"host", "db01,::1,db02"}, {"port", "5433,5432,5432"}, {"dbname", "x"}}},
        Accepted{"HostInAParameter", "postgresql:///x?host=db01", {{"dbname", "x"}, {"host", "db01"}}}),
    [](const auto& row) { return row.param.name; });
// clang-format on

class AnInvalidConnectionString : public testing::TestWithParam<const char*> {};

TEST_P(AnInvalidConnectionString, IsRefusedWithoutShowingIt) {
  const auto parsed = parse_connection_string(GetParam());
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().text().find("secret"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Forms, AnInvalidConnectionString,
                         testing::Values("host=db01 secret", "password='secret", "=secret",
                                         "postgresql://a:secret%@db01", "postgresql://a:secret%00@db01",
                                         "postgresql://a:secret@[::1", "postgresql://a:secret@[::1]x",
                                         "postgresql://db01/x?secret"));

TEST(AHost, IsNotAConnectionString) {
  EXPECT_FALSE(is_connection_string("db01.example.com:5432"));
  EXPECT_FALSE(is_connection_string("[::1]:5432,db02"));
}

}  // namespace
}  // namespace pgveil::proxy
