#include "proxy/config/password_filter.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace pgveil::proxy {
namespace {

TEST(PasswordFilter, RecognizesConnectionStrings) {
  for (const char* text :
       {"postgres://app:secret@db01", "app:secret@db01", "host=db01 password=secret", "PWD = 'secret'"})
    EXPECT_TRUE(values::may_hold_password(text)) << text;
  for (const char* text : {"db01", "db01:5432", "postgres://db01", "app@db01", "/run/password"})
    EXPECT_FALSE(values::may_hold_password(text)) << text;
}

TEST(PasswordFilter, ReplacesPasswordsInMessages) {
  for (const auto& [message, shown] :
       {std::pair{R"(host "postgres://app:secret@db01" is a URI)", R"(host "postgres://***@db01" is a URI)"},
        std::pair{R"(invalid "host=db01 password=secret port=1")",
                  R"(invalid "host=db01 password=*** port=1")"},
        std::pair{R"(invalid host name "db01")", R"(invalid host name "db01")"}})
    EXPECT_EQ(values::without_passwords(message), shown);
}

}  // namespace
}  // namespace pgveil::proxy
