#include "tls/internal/server_names.h"

#include <gtest/gtest.h>

namespace pgveil::tls {
namespace {

using Added = ServerNames::Added;

constexpr std::size_t kDefault = 0;
constexpr std::size_t kExact = 1;
constexpr std::size_t kWildcard = 2;
constexpr std::size_t kDeeper = 3;

struct Choice {
  const char* name;
  const char* asked;
  std::size_t chosen;
};
void PrintTo(const Choice& row, std::ostream* out) {
  *out << row.name;
}

class ServerNameChoice : public testing::TestWithParam<Choice> {
 protected:
  ServerNameChoice() {
    EXPECT_EQ(names_.add("db.example.com", kExact), Added::added);
    EXPECT_EQ(names_.add("Other.Example.COM", kExact), Added::added);
    EXPECT_EQ(names_.add("*.Example.com", kWildcard), Added::added);
    EXPECT_EQ(names_.add("*.eu.example.com", kDeeper), Added::added);
  }

  ServerNames names_;
};

TEST_P(ServerNameChoice, FollowsTheNames) {
  ASSERT_TRUE(names_.add_default(kDefault));
  EXPECT_EQ(names_.find(GetParam().asked), GetParam().chosen);
}

TEST_P(ServerNameChoice, IsNoneWithoutADefaultWhereNoNameFits) {
  const auto expected =
      GetParam().chosen == kDefault ? std::nullopt : std::optional<std::size_t>(GetParam().chosen);
  EXPECT_EQ(names_.find(GetParam().asked), expected);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Names, ServerNameChoice, testing::Values(
    Choice{"Exact", "db.example.com", kExact},
    Choice{"ExactInOtherCase", "DB.Example.Com", kExact},
    Choice{"ExactOfASettingInOtherCase", "other.example.com", kExact},
    Choice{"WildcardForOneLabel", "app.example.com", kWildcard},
    Choice{"WildcardInOtherCase", "APP.EXAMPLE.COM", kWildcard},
    Choice{"WildcardOfADeeperDomain", "app.eu.example.com", kDeeper},
    Choice{"ADomainIsALabelToo", "eu.example.com", kWildcard},
    Choice{"WildcardNotForTwoLabels", "a.b.example.com", kDefault},
    Choice{"WildcardNotForItsDomain", "example.com", kDefault},
    Choice{"WildcardNotForAnEmptyLabel", ".example.com", kDefault},
    Choice{"WildcardNotForTheEndOfALabel", "xexample.com", kDefault},
    Choice{"ExactWithADotAtTheEnd", "db.example.com.", kExact},
    Choice{"ExactWithADotInOtherCase", "OTHER.example.com.", kExact},
    Choice{"WildcardWithADotAtTheEnd", "app.example.com.", kWildcard},
    Choice{"TwoDotsAtTheEndAreAnotherName", "db.example.com..", kDefault},
    Choice{"ADotDoesNotMakeADomainALabel", "example.com.", kDefault},
    Choice{"Another", "db.example.org", kDefault},
    Choice{"NoDot", "db", kDefault},
    Choice{"ADot", ".", kDefault},
    Choice{"None", "", kDefault}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(ServerNames, BelongToOneCertificateEach) {
  ServerNames names;
  ASSERT_EQ(names.add("db.example.com", 0), Added::added);
  ASSERT_EQ(names.add("*.example.com", 0), Added::added);
  EXPECT_EQ(names.add("DB.example.com", 1), Added::taken);
  EXPECT_EQ(names.add("*.EXAMPLE.com", 1), Added::taken);
  EXPECT_EQ(names.add("db.example.com.", 1), Added::taken);
  EXPECT_EQ(names.add("db.example.com", 0), Added::added) << "twice for the same one does no harm";
  EXPECT_EQ(names.find("db.example.com"), 0U);
}

TEST(ServerNames, HaveOneDefault) {
  ServerNames names;
  EXPECT_TRUE(names.add_default(0));
  EXPECT_FALSE(names.add_default(1));
  EXPECT_EQ(names.find("any"), 0U);
}

TEST(ServerNames, AreHostsOrDomainsBehindAWildcard) {
  ServerNames names;
  for (const char* name :
       {"", "*", "*.", "*example.com", "db*.example.com", "db.*.example.com", "*.*.example.com"})
    EXPECT_EQ(names.add(name, 0), Added::malformed) << name;
  EXPECT_TRUE(names.only_default());
}

}  // namespace
}  // namespace pgveil::tls
