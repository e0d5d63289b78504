#include "protocol/user_list.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/auth_files.h"

namespace pgveil::protocol {
namespace {

using test::shown;
using namespace std::string_literals;

// PostgreSQL 15 has written this secret, for the password "secret".
const std::string kScram =
    "SCRAM-SHA-256$4096:veWIwUz48iJMYWeU26l5TA==$18PdkUAGhA3C+DlqMdMOKfuwDfCVQGfL9L187RL1LfQ=:"
    "QL/CTf4EgIoSpOSGvjzPuLnlydA4/cqY++jMUxagLo8=";
const std::string kMd5 = "md5d578afc33a8c6a4d94ba1b32a5eaf37a";

std::string shown(const UserSecret& secret) {
  if (const auto* scram = std::get_if<ScramSecret>(&secret)) return format_scram_secret(*scram);
  if (const auto* password = std::get_if<SecretText>(&secret))
    return "password " + std::string(password->view());
  return "md5";
}

// Returns "LINE: USER, SECRET;" for each entry, or the errors.
std::string read(std::string_view text) {
  const auto list = parse_user_list(text, "userlist.txt");
  if (!list) return shown(list.error());
  std::string all;
  for (const auto& [user, secret, line] : *list)
    all += std::to_string(line) + ": " + user + ", " + shown(secret) + ';';
  return all;
}

struct Text {
  const char* name;
  std::string text;
  std::string entries;
};

class UserList : public testing::TestWithParam<Text> {};

TEST_P(UserList, IsReadAsPgbouncerReadsIt) {
  EXPECT_EQ(read(GetParam().text), GetParam().entries);
}

const std::string kLongestUserName(63, 'n');

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Lines, UserList,
    testing::Values(
        Text{"Empty", "", ""},
        Text{"One", R"("ann" "sesame")", "1: ann, password sesame;"},
        Text{"Several", "\"ann\" \"sesame\"\n\"bob\" \"rosebud\"\n", "1: ann, password sesame;2: bob, password rosebud;"},
        Text{"LinesOfWindows", "\"ann\" \"sesame\"\r\n\r\n\"bob\" \"rosebud\"\r\n", "1: ann, password sesame;3: bob, password rosebud;"},
        Text{"BlankLines", "\n \t\n\"ann\" \"sesame\"\n\n", "3: ann, password sesame;"},
        Text{"Comments", ";\"ann\" \"rosebud\"\n ; more\n\"ann\" \"sesame\"", "3: ann, password sesame;"},
        Text{"BlanksBefore", " \t\"ann\" \"sesame\"", "1: ann, password sesame;"},
        Text{"BlanksBetween", "\"ann\"\t  \"sesame\"", "1: ann, password sesame;"},
        Text{"MoreBehind", R"("ann" "sesame" "" valid until "tomorrow)", "1: ann, password sesame;"},
        Text{"MarksInTheName", R"("""a""b""" "sesame")", R"(1: "a"b", password sesame;)"},
        Text{"MarksInTheSecret", R"("ann" """ses""""ame""")", R"(1: ann, password "ses""ame";)"},
        Text{"ASecretThatIsAMark", R"("ann" """")", R"(1: ann, password ";)"},
        Text{"BackslashesMeanNothing", R"("ann\" "ses\ame\\")", R"(1: ann\, password ses\ame\\;)"},
        Text{"BlanksInValues", R"(" ann " " ses ame ")", "1:  ann , password  ses ame ;"},
        Text{"ASemicolonInValues", R"("a;n" "ses;ame")", "1: a;n, password ses;ame;"},
        Text{"TheLongestName", '"' + kLongestUserName + R"(" "sesame")", "1: " + kLongestUserName + ", password sesame;"},
        Text{"LengthIsThatOfTheNameNotOfTheLine", '"' + kLongestUserName.substr(1) + R"(""" "sesame")", "1: " + kLongestUserName.substr(1) + "\", password sesame;"},
        Text{"NamesDifferInCase", "\"ann\" \"a\"\n\"Ann\" \"b\"", "1: ann, password a;2: Ann, password b;"}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Secrets, UserList,
    testing::Values(
        Text{"Scram", R"("ann" ")" + kScram + '"', "1: ann, " + kScram + ';'},
        Text{"Md5", R"("ann" ")" + kMd5 + '"', "1: ann, md5;"},
        Text{"Md5TooShort", R"("ann" "md5d578afc3")", "1: ann, password md5d578afc3;"},
        Text{"Md5TooLong", R"("ann" ")" + kMd5 + R"(0")", "1: ann, password " + kMd5 + "0;"},
        Text{"Md5InUpperCase", R"("ann" "MD5)" + kMd5.substr(3) + '"', "1: ann, password MD5" + kMd5.substr(3) + ';'},
        Text{"Md5WithAnUpperCaseDigit", R"("ann" "md5D)" + kMd5.substr(4) + '"', "1: ann, password md5D" + kMd5.substr(4) + ';'},
        Text{"Md5WithAnotherLetter", R"("ann" "md5g)" + kMd5.substr(4) + '"', "1: ann, password md5g" + kMd5.substr(4) + ';'},
        Text{"ScramInLowerCase", R"("ann" "scram-sha-256$4096")", "1: ann, password scram-sha-256$4096;"},
        Text{"OnlyTheNameOfScram", R"("ann" "SCRAM-SHA-256")", "1: ann, password SCRAM-SHA-256;"},
        Text{"ScramPlus", R"("ann" "SCRAM-SHA-256-PLUS$")", "1: ann, password SCRAM-SHA-256-PLUS$;"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

struct FaultyUserList {
  const char* name;
  std::string text;
  std::string error;
};

class MistakenUserList : public testing::TestWithParam<FaultyUserList> {};

TEST_P(MistakenUserList, IsRefusedWithTheLine) {
  EXPECT_EQ(read(GetParam().text).substr(0, GetParam().error.size()), GetParam().error);
  const std::string all = read(GetParam().text);
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 1) << all;
}

TEST_P(MistakenUserList, IsNotShown) {
  const std::string all = read(GetParam().text);
  EXPECT_EQ(all.find("sesame"), all.npos) << all;
  EXPECT_EQ(all.find("ann"), all.npos) << all;  // what looks like a name can be a secret
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Lines, MistakenUserList,
    testing::Values(
        FaultyUserList{"NoMarks", "\nann sesame\n", "userlist.txt:2: the line does not begin with a quotation mark."},
        FaultyUserList{"AnotherComment", "# ann", "userlist.txt:1: the line does not begin with a quotation mark."},
        FaultyUserList{"AByteOrderMark", "\xef\xbb\xbf\"ann\" \"sesame\"", "userlist.txt:1: the line does not begin with a quotation mark."},
        FaultyUserList{"NoMarkBeforeTheName", "ann\" \"sesame\"", "userlist.txt:1: the line does not begin with a quotation mark."},
        FaultyUserList{"NoMarkBehindTheName", "\"ann sesame", "userlist.txt:1: the user does not end with a quotation mark on this line."},
        FaultyUserList{"NameOverTwoLines", "\"ann\n; ann\"", "userlist.txt:1: the user does not end with a quotation mark on this line."},
        FaultyUserList{"AMarkAlone", "\"", "userlist.txt:1: the user does not end with a quotation mark on this line."},
        FaultyUserList{"OnlyDoubledMarks", "\"\"\"", "userlist.txt:1: the user does not end with a quotation mark on this line."},
        FaultyUserList{"NoSecret", R"("sesame")", "userlist.txt:1: no secret in quotation marks follows the user on this line."},
        FaultyUserList{"NoBlankBetween", R"("ann""sesame")", "userlist.txt:1: no secret in quotation marks follows the user on this line."},
        FaultyUserList{"NoMarkBeforeTheSecret", R"("ann" sesame")", "userlist.txt:1: no secret in quotation marks follows the user on this line."},
        FaultyUserList{"NoMarkBehindTheSecret", R"("ann" "sesame)", "userlist.txt:1: no secret in quotation marks follows the user on this line."},
        FaultyUserList{"ADoubledMarkBehindTheSecret", R"("ann" "sesame"")", "userlist.txt:1: no secret in quotation marks follows the user on this line."},
        FaultyUserList{"SomethingBetween", R"("ann", "sesame")", "userlist.txt:1: no secret in quotation marks follows the user on this line."},
        FaultyUserList{"SecretOnTheNextLine", "\"ann\"\n; \"sesame\"", "userlist.txt:1: no secret in quotation marks follows the user on this line."},
        FaultyUserList{"EmptyName", R"("" "sesame")", "userlist.txt:1: the user is empty."},
        FaultyUserList{"EmptySecret", R"("ann" "")", "userlist.txt:1: the secret is empty."},
        FaultyUserList{"NoBlankBetweenInAnOldFile", R"("ann""sesame" "")", "userlist.txt:1: the secret is empty."},
        FaultyUserList{"NameThatTheServerWouldCut", '"' + kLongestUserName + R"(n" "sesame")", "userlist.txt:1: the user is longer than 63 bytes."},
        FaultyUserList{"TheSameUser", "\"ann\" \"sesame\"\n\n\"ann\" \"sesame\"", "userlist.txt:3: line 1 has the same user."},
        FaultyUserList{"ANul", "; a\n\"ann\" \"ses\0ame\""s, "userlist.txt:2: the text contains a NUL byte."},
        FaultyUserList{"ANulInAComment", "; \0\n\"ann\" \"sesame\""s, "userlist.txt:1: the text contains a NUL byte."},
        FaultyUserList{"ACutScramSecret", R"("ann" ")" + kScram.substr(0, 100) + '"', "userlist.txt:1: the secret begins with SCRAM-SHA-256$, but is not a SCRAM secret"},
        FaultyUserList{"NothingButThePrefix", R"("ann" "SCRAM-SHA-256$")", "userlist.txt:1: the secret begins with SCRAM-SHA-256$, but is not a SCRAM secret"},
        FaultyUserList{"TooManyIterations", R"("ann" "SCRAM-SHA-256$1000001)" + kScram.substr(18) + '"', "userlist.txt:1: the secret begins with SCRAM-SHA-256$, but is not a SCRAM secret or has more than 1000000 iterations."}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(UserListMistakes, AreReportedAllAtOnce) {
  const auto list = parse_user_list(
      "ann\n"
      "\"ann\" \"\"\n"
      "\"bob\" \"rosebud\"\n"
      "\"\" \"\"\n"
      "\"ann\" \"SCRAM-SHA-256$\"\n",
      "userlist.txt");
  ASSERT_FALSE(list.has_value());
  std::string lines;
  for (const auto& error : list.error()) lines += std::to_string(error.line) + ' ';
  EXPECT_EQ(lines, "1 2 4 4 5 5 ");
}

}  // namespace
}  // namespace pgveil::protocol
