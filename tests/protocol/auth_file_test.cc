#include "protocol/auth_file.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/auth_files.h"

namespace pgveil::protocol {
namespace {

using test::FakeAuthFiles;
using test::shown;
using Files = std::map<std::string, const char*>;

// Returns the fields of a record separated by blanks, and their tokens by commas; a quoted token is in <>.
std::string shown(const AuthLine& line) {
  std::string text;
  for (const auto& field : line.fields) {
    if (!text.empty()) text += ' ';
    for (const AuthToken& token : field) {
      if (&token != &field.front()) text += ',';
      text += token.quoted ? '<' + token.text + '>' : token.text;
    }
  }
  return text;
}

// Returns "FILE:LINE: RECORD" for each record, or the errors.
std::string split(std::string_view text, Files files = {}, const std::string& file = "/etc/hba",
                  int first_line = 1) {
  AuthFileErrors errors;
  const auto lines = split_auth_file(text, file, first_line, FakeAuthFiles(std::move(files)), errors);
  if (!errors.empty()) return shown(errors);
  std::string all;
  for (const AuthLine& line : lines)
    all += line.file + ':' + std::to_string(line.line) + ": " + shown(line) + '\n';
  return all;
}

struct Split {
  const char* name;
  std::string_view text;
  const char* record;  // the only record, which begins in line 1; empty: none
};

class AuthFileLine : public testing::TestWithParam<Split> {};

TEST_P(AuthFileLine, IsSplitAsPostgresqlSplitsIt) {
  const std::string record = GetParam().record;
  EXPECT_EQ(split(GetParam().text), record.empty() ? "" : "/etc/hba:1: " + record + '\n');
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    AuthFile, AuthFileLine,
    testing::Values(
        Split{"Nothing", "", ""},
        Split{"Blanks", " \t\r\n \n", ""},
        Split{"Comment", "# a, \"b\n", ""},
        Split{"CommasAlone", " , ,, \n", ""},
        Split{"Fields", "a b\tc\rd", "a b c d"},
        Split{"CarriageReturnAndLineFeed", "a b\r\n", "a b"},
        Split{"List", "a b,c,d e", "a b,c,d e"},
        Split{"ListWithBlanksBehindItsComma", "a b, c,\t,d e", "a b,c,d e"},
        Split{"BlankBeforeTheCommaEndsTheField", "a b ,c d", "a b c d"},
        Split{"CommaAtTheEnd", "a b,", "a b"},
        Split{"CommaBeforeAComment", "a b,#c", "a b"},
        Split{"QuotedKeyword", "a \"all\" all", "a <all> all"},
        Split{"QuotesKeepBlanksCommasAndHashes", R"(a "b c, #d" e)", "a <b c, #d> e"},
        Split{"QuotesInMidToken", R"(a b" c"d e)", "a b cd e"},
        Split{"QuotesInMidTokenMakeItNoneThatBegan", R"(a al"l")", "a all"},
        Split{"QuotesAtTheStartOfAToken", R"(a "al"l)", "a <all>"},
        Split{"DoubledQuotes", R"(a "b""c" d)", R"(a <b"c> d)"},
        Split{"DoubledQuotesAlone", R"(a """" d)", R"(a <"> d)"},
        Split{"DoubledQuotesOutside", R"(a b""c d)", "a bc d"},
        Split{"ThreeQuotesInARow", R"(a """b c" d)", R"(a <"b c> d)"},
        Split{"EmptyQuotes", R"(a "" b)", "a <> b"},
        Split{"EmptyQuotesInFront", R"(a ""b)", "a <b>"},
        Split{"EmptyQuotesInAList", R"(a "",b)", "a <>,b"},
        Split{"CommentInsideAToken", "a b#c d", "a b"},
        Split{"AtSignAlone", "a @ b", "a @ b"},
        Split{"AtSignQuoted", R"(a "@b")", "a <@b>"},
        Split{"AtSignBehindEmptyQuotes", R"(a ""@b)", "a <@b>"},
        Split{"AtSignInMidToken", "a b@c", "a b@c"},
        Split{"PlusAndSlashMeanNothingHere", "a +b /c", "a +b /c"},
        Split{"Continuation", "a b\\\nc d", "a bc d"},
        Split{"ContinuationBeforeCarriageReturn", "a b \\\r\n c", "a b c"},
        Split{"ContinuationInQuotes", "a \"b \\\nc\" d", "a <b c> d"},
        Split{"ContinuationOfAComment", "a # b \\\nc d", "a"},
        Split{"ContinuationAtTheEnd", "a b\\\n", "a b"},
        Split{"ContinuationAtTheEndWithoutLineFeed", "a b\\", "a b"},
        Split{"ContinuationsInARow", "a\\\n b\\\n c", "a b c"},
        Split{"BackslashesOfTwoLinesInARow", "a \\\\\n\n", "a \\"},
        Split{"BackslashWithABlankBehindIt", "a b\\ \n", "a b\\"},
        Split{"BytesBeyondAscii", "a j\xc3\xbcrgen\xff", "a j\xc3\xbcrgen\xff"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(AuthFile, CountsEveryLineAndNamesTheFirstOfARecord) {
  EXPECT_EQ(split("# one\na \\\n b \\\n c\n\nd\n"), "/etc/hba:2: a b c\n/etc/hba:6: d\n");
}

TEST(AuthFile, CountsFromTheLineWhereItsTextBegins) {
  EXPECT_EQ(split("\na\n", {}, "pgveil.toml", 41), "pgveil.toml:42: a\n");
}

TEST(AuthFile, RefusesAQuotationMarkThatIsNotClosed) {
  const std::string hint = "Write another quotation mark at the end of the name.\n";
  EXPECT_EQ(split("\na \"b c # d\n"),
            "/etc/hba:2: the quotation mark in column 3 of the record is not closed. " + hint);
  EXPECT_EQ(split("a b,\"c\" d\"e f\r\n"),
            "/etc/hba:1: the quotation mark in column 10 of the record is not closed. " + hint);
  EXPECT_EQ(split("a \\\nb \"c\n"), "/etc/hba:1: a quotation mark is not closed. " + hint);
}

TEST(AuthFile, RefusesANul) {
  using namespace std::string_view_literals;
  EXPECT_EQ(split("a b\nc\0d\ne\n"sv, {}, "/etc/hba", 5),
            "/etc/hba:6: the text contains a NUL byte. Save the file in ASCII or UTF-8.\n");
}

struct Included {
  const char* name;
  std::string_view text;  // of /etc/hba
  Files files;
  const char* result;
};

class AuthFileThatIncludes : public testing::TestWithParam<Included> {};

TEST_P(AuthFileThatIncludes, IsReadWithWhatItIncludes) {
  EXPECT_EQ(split(GetParam().text, GetParam().files), GetParam().result);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    AuthFile, AuthFileThatIncludes,
    testing::Values(
        Included{"NamesOfAnyLineAndField", "a b,@names,e f", {{"/etc/names", "c d\n# no\n\"all\",x\n"}}, "/etc/hba:1: a b,c,d,<all>,x,e f\n"},
        Included{"NamesInAFileWithABlankInItsName", "a @\"my names\"", {{"/etc/my names", "b"}}, "/etc/hba:1: a b\n"},
        Included{"NamesByAbsolutePath", "a @/var/names", {{"/var/names", "b"}}, "/etc/hba:1: a b\n"},
        Included{"NamesOfNamesRelativeToTheirOwnFile", "a @x/names", {{"/etc/x/names", "b,@more d"}, {"/etc/x/more", "c"}}, "/etc/hba:1: a b,c,d\n"},
        Included{"NamesRelativeToTheDirectoryAbove", "a @../names", {{"/names", "b"}}, "/etc/hba:1: a b\n"},
        Included{"NamesFromAnIncludeInAListOfNames", "a @names", {{"/etc/names", "include more\nb"}, {"/etc/more", "c d"}}, "/etc/hba:1: a c,d,b\n"},
        Included{"EmptyFileBesideANameInAList", "a b,@names c", {{"/etc/names", "#\n"}}, "/etc/hba:1: a b c\n"},
        Included{"EmptyFileInAFileOfNames", "a @names", {{"/etc/names", "@more b"}, {"/etc/more", ""}}, "/etc/hba:1: a b\n"},
        Included{"Records", "a\ninclude x/more\nd", {{"/etc/x/more", "b\n\ninclude yet\n"}, {"/etc/x/yet", "c"}}, "/etc/hba:1: a\n/etc/x/more:1: b\n/etc/x/yet:1: c\n/etc/hba:3: d\n"},
        Included{"RecordsByAQuotedKeyword", "\"include\" more", {{"/etc/more", "b"}}, "/etc/more:1: b\n"},
        Included{"TheSameFileTwice", "include more\ninclude more", {{"/etc/more", "b"}}, "/etc/more:1: b\n/etc/more:1: b\n"},
        Included{"KeywordWithTwoNamesIsARecord", "include more yet", {}, "/etc/hba:1: include more yet\n"},
        Included{"KeywordAloneIsARecord", "include", {}, "/etc/hba:1: include\n"},
        Included{"KeywordInAnotherCaseIsARecord", "Include more", {}, "/etc/hba:1: Include more\n"},
        Included{"IfItExists", "include_if_exists more\ninclude_if_exists none\nc", {{"/etc/more", "b"}}, "/etc/more:1: b\n/etc/hba:3: c\n"},
        Included{"DirectoryInOrderOfTheCLocale", "include_dir conf.d",
                 {{"/etc/conf.d/b.conf", "2"}, {"/etc/conf.d/a.conf", "1"}, {"/etc/conf.d/Z.conf", "0"}, {"/etc/conf.d/\xc3\xa4.conf", "3"}},
                 "/etc/conf.d/Z.conf:1: 0\n/etc/conf.d/a.conf:1: 1\n/etc/conf.d/b.conf:1: 2\n/etc/conf.d/\xc3\xa4.conf:1: 3\n"},
        Included{"DirectoryWithoutOtherAndHiddenFiles", "include_dir conf.d",
                 {{"/etc/conf.d/a.conf", "1"}, {"/etc/conf.d/a.conf~", "2"}, {"/etc/conf.d/b.CONF", "3"}, {"/etc/conf.d/conf", "4"}, {"/etc/conf.d/.c.conf", "5"}, {"/etc/conf.d/.conf", "6"}},
                 "/etc/conf.d/a.conf:1: 1\n"},
        Included{"DirectoryWithASlashBehindIt", "include_dir conf.d/", {{"/etc/conf.d/a.conf", "1"}}, "/etc/conf.d/a.conf:1: 1\n"}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Faulty, AuthFileThatIncludes,
    testing::Values(
        Included{"MissingNames", "a\nb @names,@more c", {{"/etc/more", nullptr}},
                 "/etc/hba:2: could not read file \"/etc/names\": No such file or directory. Check the path.\n"
                 "/etc/hba:2: could not read file \"/etc/more\": Permission denied. Let the user read it.\n"},
        Included{"MissingFile", "include more", {}, "/etc/hba:1: could not read file \"/etc/more\": No such file or directory. Check the path.\n"},
        Included{"FileThatExistsAndMayNotBeRead", "include_if_exists more", {{"/etc/more", nullptr}}, "/etc/hba:1: could not read file \"/etc/more\": Permission denied. Let the user read it.\n"},
        Included{"MissingFileInAFileThatMayBeMissing", "include_if_exists more", {{"/etc/more", "\ninclude none"}}, "/etc/more:2: could not read file \"/etc/none\": No such file or directory. Check the path.\n"},
        Included{"MissingDirectory", "include_dir conf.d", {}, "/etc/hba:1: could not read directory \"/etc/conf.d\": No such file or directory. Check the path.\n"},
        Included{"TwoFilesInOneLine", "include a,b", {}, "/etc/hba:1: \"include\" requires exactly one name. Write a line for each file. Put a name that contains a comma in quotation marks.\n"},
        Included{"BlankDirectory", "include_dir \" \"", {}, "/etc/hba:1: \"include_dir\" requires exactly one name. Write a line for each file. Put a name that contains a comma in quotation marks.\n"},
        Included{"EmptyList", "a @names b", {{"/etc/names", "# none\n"}}, "/etc/hba:1: the list is empty: its file contains no name. Write a name in the file, or remove the record.\n"},
        Included{"FileThatIncludesItself", "include more", {{"/etc/more", "a @x/../more"}}, "/etc/more:1: file \"/etc/more\" includes itself. Remove this line.\n"},
        Included{"FileThatIncludesTheFirst", "include more", {{"/etc/more", "include hba"}}, "/etc/more:1: file \"/etc/hba\" includes itself. Remove this line.\n"},
        Included{"ControlByteInAName", "include \"a\tb\"", {}, "/etc/hba:1: could not read file \"/etc/a\\x09b\": No such file or directory. Check the path.\n"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

Files chain_of(const std::vector<std::string>& texts) {
  Files files;
  for (std::size_t place = 0; place < texts.size(); ++place)
    files["/etc/" + std::to_string(place + 1)] = texts[place].c_str();
  return files;
}

TEST(AuthFile, IncludesTenDeepAndNoDeeper) {
  std::vector<std::string> texts;
  for (int next = 2; next <= 10; ++next) texts.push_back("include " + std::to_string(next));
  texts.emplace_back("a");
  EXPECT_EQ(split("include 1", chain_of(texts)), "/etc/10:1: a\n");

  texts.back() = "\na @11";
  texts.emplace_back("b");
  EXPECT_EQ(
      split("include 1", chain_of(texts)),
      "/etc/10:2: file \"/etc/11\" is nested more than 10 files deep. Include it from a file that is nested less deeply.\n");
}

TEST(AuthFile, GivesUpWhereFilesIncludeEachOtherWithoutEnd) {
  std::vector<std::string> texts;
  for (int next = 2; next <= 10; ++next) {
    std::string text;
    for (int time = 0; time < 10; ++time) text += "include " + std::to_string(next) + "\n";
    texts.push_back(text);
  }
  texts.emplace_back("a");
  AuthFileErrors errors;
  static_cast<void>(split_auth_file("include 1\n", "/etc/hba", 1, FakeAuthFiles(chain_of(texts)), errors));
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_EQ(errors.front().message, "more than 1000 files are included");
}

TEST(AuthFile, ReportsTheErrorsOfAllItsFiles) {
  const auto text = split("a @none\ninclude more\nb @none\n", {{"/etc/more", "c\nd @none\n"}});
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
  EXPECT_NE(text.find("/etc/hba:1: "), text.npos);
  EXPECT_NE(text.find("/etc/more:2: "), text.npos);
  EXPECT_NE(text.find("/etc/hba:3: "), text.npos);
}

TEST(AuthFile, ShowsARecordOnOneLine) {
  AuthFileErrors errors;
  const auto lines = split_auth_file("hostssl  all,\"all\" \"a b\"\\\n\t/x\"y z\" \"\x01\" # comment", "hba",
                                     1, FakeAuthFiles(), errors);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(text_of(lines[0]), R"(hostssl all,"all" "a b" "/xy z" "\x01")");
}

TEST(AuthFile, ShowsTheBeginningOfALongRecord) {
  AuthLine line{.file = "hba", .line = 1, .fields = {{{"hostssl"}}, {}}};
  for (int user = 0; user < 10'000; ++user) line.fields.back().push_back({"user" + std::to_string(user)});
  const std::string text = text_of(line);
  EXPECT_TRUE(text.starts_with("hostssl user0,user1,"));
  EXPECT_TRUE(text.ends_with("..."));
  EXPECT_LT(text.size(), 200U);
}

TEST(AuthFile, ReturnsTheRecordsThatHaveNoError) {
  AuthFileErrors errors{{"/etc/other", 1, "is wrong", ""}};
  const auto lines = split_auth_file("a\n\"b\nc @none\nd\n", "/etc/hba", 1, FakeAuthFiles(), errors);
  ASSERT_EQ(errors.size(), 3U);
  EXPECT_EQ(errors[1].line, 2);
  EXPECT_EQ(errors[2].line, 3);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0].line, 1);
  EXPECT_EQ(lines[1].line, 4);
}

}  // namespace
}  // namespace pgveil::protocol
