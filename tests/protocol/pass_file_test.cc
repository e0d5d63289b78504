#include "protocol/pass_file.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/auth_files.h"

namespace pgveil::protocol {
namespace {

using test::shown;
using namespace std::string_literals;

constexpr PassFile::Key kKey{.host = "db", .port = "5432", .database = "ledger", .user = "ann"};

// Returns the password; "-" if there is none; or the errors.
std::string find(std::string_view text, const PassFile::Key& key) {
  const auto file = PassFile::parse(text, "pgpass");
  if (!file) return shown(file.error());
  const SecretText* password = file->find(key);
  return password == nullptr ? "-" : std::string(password->view());
}

struct Lookup {
  const char* name;
  std::string text;
  std::string password;
  PassFile::Key key = kKey;
};

class PassFileLookup : public testing::TestWithParam<Lookup> {};

TEST_P(PassFileLookup, FindsWhatLibpqFinds) {
  EXPECT_EQ(find(GetParam().text, GetParam().key), GetParam().password);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Lines, PassFileLookup,
    testing::Values(
        Lookup{"Empty", "", "-"},
        Lookup{"Equal", "db:5432:ledger:ann:sesame\n", "sesame"},
        Lookup{"NoNewlineAtTheEnd", "db:5432:ledger:ann:sesame", "sesame"},
        Lookup{"LinesOfWindows", "db:5432:ledger:ann:sesame\r\n", "sesame"},
        Lookup{"SeveralCarriageReturns", "db:5432:ledger:ann:sesame\r\r\n", "sesame"},
        Lookup{"ACarriageReturnWithin", "db:5432:ledger:ann:ses\rame\n", "ses\rame"},
        Lookup{"OtherHost", "db2:5432:ledger:ann:sesame", "-"},
        Lookup{"LongerHost", "d:5432:ledger:ann:sesame", "-"},
        Lookup{"HostInAnotherCase", "DB:5432:ledger:ann:sesame", "-"},
        Lookup{"OtherPort", "db:5433:ledger:ann:sesame", "-"},
        Lookup{"OtherDatabase", "db:5432:ledge:ann:sesame", "-"},
        Lookup{"OtherUser", "db:5432:ledger:bob:sesame", "-"},
        Lookup{"TheFirstThatMatches", "db:5432:ledger:bob:a\ndb:5432:ledger:ann:b\ndb:5432:ledger:ann:c\n", "b"},
        Lookup{"CommentsAndBlankLines", "# Passwords\n#db:5432:ledger:ann:rosebud\n\n \t\r\ndb:5432:ledger:ann:sesame\n", "sesame"},
        Lookup{"BlanksBelongToFields", " #db:5432:ledger:ann:rosebud\ndb :5432:ledger:ann:sesame\n", "-"},
        Lookup{"BlanksBelongToThePassword", "db:5432:ledger:ann: sesame # \n", " sesame # "}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Wildcards, PassFileLookup,
    testing::Values(
        Lookup{"Host", "*:5432:ledger:ann:sesame", "sesame"},
        Lookup{"Port", "db:*:ledger:ann:sesame", "sesame"},
        Lookup{"Database", "db:5432:*:ann:sesame", "sesame"},
        Lookup{"User", "db:5432:ledger:*:sesame", "sesame"},
        Lookup{"All", "*:*:*:*:sesame", "sesame"},
        Lookup{"OnlyAlone", "d*:5432:ledger:ann:a\n**:5432:ledger:ann:b\n", "-"},
        Lookup{"NotInThePassword", "*:*:*:*:*", "*"},
        Lookup{"EscapedIsAStar", R"(\*:5432:ledger:ann:sesame)", "-"},
        Lookup{"EscapedMatchesAStar", R"(\*:*:*:*:sesame)", "sesame", {"*", "5432", "ledger", "ann"}}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Escapes, PassFileLookup,
    testing::Values(
        Lookup{"ColonInTheHost", R"(\:\:1:5432:ledger:ann:sesame)", "sesame", {"::1", "5432", "ledger", "ann"}},
        Lookup{"BackslashInTheUser", R"(db:5432:ledger:dom\\ann:sesame)", "sesame", {"db", "5432", "ledger", R"(dom\ann)"}},
        Lookup{"BackslashBeforeTheColon", R"(db:5432:ledger:ann\\:sesame)", "sesame", {"db", "5432", "ledger", R"(ann\)"}},
        Lookup{"AnyByteInAField", R"(\d\b:5432:ledger:ann:sesame)", "sesame"},
        Lookup{"ColonInThePassword", R"(db:5432:ledger:ann:ses\:ame)", "ses:ame"},
        Lookup{"BackslashInThePassword", R"(db:5432:ledger:ann:ses\\ame\\)", R"(ses\ame\)"},
        Lookup{"AnyByteInThePassword", R"(db:5432:ledger:ann:s\e\s\#ame)", "ses#ame"},
        Lookup{"ABackslashAtTheEndIsItself", "db:5432:ledger:ann:sesame\\\n", R"(sesame\)"}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Keys, PassFileLookup,
    testing::Values(
        Lookup{"NoHostIsLocalhost", "db:5432:ledger:ann:a\nlocalhost:5432:ledger:ann:b\n", "b", {"", "5432", "ledger", "ann"}},
        Lookup{"ASocketDirectory", "localhost:5432:ledger:ann:a\n/run/pg:5432:ledger:ann:b\n", "b", {"/run/pg", "5432", "ledger", "ann"}},
        Lookup{"NoUser", "*:*:*:*:sesame", "-", {"db", "5432", "ledger", ""}},
        Lookup{"NoDatabase", "*:*:*:*:sesame", "-", {"db", "5432", "", "ann"}},
        Lookup{"AnEmptyPasswordIsNoneAndEndsTheSearch", "db:5432:ledger:ann:\n*:*:*:*:sesame\n", "-"},
        Lookup{"AnEmptyPasswordOfAnotherLine", "db:5432:ledger:bob:\n*:*:*:*:sesame\n", "sesame"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

struct FaultyPassFile {
  const char* name;
  std::string text;
  std::string error;
};

class MistakenPassFile : public testing::TestWithParam<FaultyPassFile> {};

TEST_P(MistakenPassFile, IsRefusedWithTheLineAndNotShown) {
  const std::string all = find(GetParam().text, kKey);
  EXPECT_EQ(all.substr(0, GetParam().error.size()), GetParam().error);
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 1) << all;
  EXPECT_EQ(all.find("sesame"), all.npos) << all;
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Lines, MistakenPassFile,
    testing::Values(
        FaultyPassFile{"FourFields", "db:5432:ledger:sesame", "pgpass:1: the line has fewer than five fields."},
        FaultyPassFile{"OnlyAPassword", "\nsesame\n", "pgpass:2: the line has fewer than five fields."},
        FaultyPassFile{"ACommentThatIsNone", "\n\n  # sesame\n", "pgpass:3: the line has fewer than five fields."},
        FaultyPassFile{"AnEscapedColonIsNoEnd", R"(db:5432:ledger:ann\:sesame)", "pgpass:1: the line has fewer than five fields."},
        FaultyPassFile{"ABackslashAtTheEndOfTheUser", "db:5432:ledger:sesame\\", "pgpass:1: the line has fewer than five fields."},
        FaultyPassFile{"NoHost", ":5432:ledger:ann:sesame", "pgpass:1: a field before the password is empty, which nothing matches."},
        FaultyPassFile{"NoPort", "db::ledger:ann:sesame", "pgpass:1: a field before the password is empty, which nothing matches."},
        FaultyPassFile{"NoDatabase", "db:5432::ann:sesame", "pgpass:1: a field before the password is empty, which nothing matches."},
        FaultyPassFile{"NoUser", "db:5432:ledger::sesame", "pgpass:1: a field before the password is empty, which nothing matches."},
        FaultyPassFile{"SeveralEmpty", "::::sesame", "pgpass:1: a field before the password is empty, which nothing matches."},
        FaultyPassFile{"AColonInThePassword", "db:5432:ledger:ann:ses:ame:sesame", "pgpass:1: the line has more than five fields."},
        FaultyPassFile{"AColonBehindThePassword", "db:5432:ledger:ann:sesame:", "pgpass:1: the line has more than five fields."},
        FaultyPassFile{"ANul", "db:5432:ledger:ann:sesame\0"s, "pgpass:1: the text contains a NUL byte."},
        FaultyPassFile{"ANulInAComment", "#\0\ndb:5432:ledger:ann:sesame"s, "pgpass:1: the text contains a NUL byte."}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(PassFileMistakes, AreReportedAllAtOnce) {
  const auto file = PassFile::parse(
      "sesame\n"
      "db:5432:ledger:ann:rosebud\n"
      "db:5432::ann:a:b\n"
      "db\n",
      "pgpass");
  ASSERT_FALSE(file.has_value());
  std::string lines;
  for (const auto& error : file.error()) lines += std::to_string(error.line) + ' ';
  EXPECT_EQ(lines, "1 3 3 4 ");
}

}  // namespace
}  // namespace pgveil::protocol
