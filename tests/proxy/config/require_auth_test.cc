#include "proxy/config/require_auth.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace pgveil::proxy {
namespace {

struct Listed {
  const char* name;
  const char* text;
  const char* methods;
};

class AuthMethodsText : public testing::TestWithParam<Listed> {};
TEST_P(AuthMethodsText, IsReadAsLibpqDoes) {
  const auto methods = parse_auth_methods(GetParam().text);
  ASSERT_TRUE(methods.has_value()) << methods.error();
  EXPECT_EQ(methods->text(), GetParam().methods);
}
// clang-format off
INSTANTIATE_TEST_SUITE_P(
    AuthMethods, AuthMethodsText,
    testing::Values(
        Listed{"One", "scram-sha-256", "scram-sha-256"},
        Listed{"Several", " none, md5,password", "password,md5,none"},
        Listed{"Negated", "!password,!md5", "gss,sspi,scram-sha-256,oauth,none"},
        Listed{"NotNone", "!none", "password,md5,gss,sspi,scram-sha-256,oauth"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

class AuthMethodsMistake : public testing::TestWithParam<const char*> {};
TEST_P(AuthMethodsMistake, IsRefused) {
  EXPECT_FALSE(parse_auth_methods(GetParam()).has_value());
}
INSTANTIATE_TEST_SUITE_P(AuthMethods, AuthMethodsMistake,
                         testing::Values("", ",", "md5,", "scram", "MD5", "md5,!password", "!md5,password",
                                         "md5,md5", "!!md5"));

protocol::Bytes sasl(std::string_view names) {
  protocol::Bytes data;
  for (const char letter : names) data.push_back(static_cast<std::uint8_t>(letter == '|' ? '\0' : letter));
  return data;
}

TEST(MethodOfRequest, OfSaslIsInItsList) {
  using Code = protocol::AuthenticationCode;
  const auto of = [](const protocol::Bytes& list) { return method_of({.code = Code::sasl, .data = list}); };
  EXPECT_EQ(of(sasl("SCRAM-SHA-256-PLUS|SCRAM-SHA-256||")), AuthMethod::scram_sha_256);
  EXPECT_EQ(of(sasl("OAUTHBEARER||")), AuthMethod::oauth);
  EXPECT_EQ(of(sasl("SCRAM-SHA-512||")), std::nullopt);
  EXPECT_EQ(of(sasl("||")), std::nullopt);
  EXPECT_EQ(method_of({.code = Code::ok, .data = {}}), AuthMethod::none);
  EXPECT_EQ(method_of({.code = Code::kerberos_v5, .data = {}}), std::nullopt);
}

}  // namespace
}  // namespace pgveil::proxy
