#include "protocol/ident.h"

#include <gtest/gtest.h>

#include "tests/support/auth_files.h"

namespace pgveil::protocol {
namespace {

using test::FakeAuthFiles;
using test::shown;
using Names = std::vector<std::string>;
using namespace std::string_literals;

tl::expected<IdentMap, AuthFileErrors> parsed_map(std::string_view text) {
  AuthFileErrors errors;
  const auto lines = split_auth_file(text, "ident", 1, FakeAuthFiles(), errors);
  if (!errors.empty()) return tl::unexpected(errors);
  return IdentMap::parse(lines);
}

IdentMap map_of(std::string_view text) {
  auto map = parsed_map(text);
  if (map) return std::move(*map);
  ADD_FAILURE() << shown(map.error());
  return {};
}

// Returns "LINE: USER"; "0: USER" if there is no map; "" if no user is allowed.
std::string shown(const std::optional<IdentMap::Match>& match) {
  if (!match) return "";
  EXPECT_EQ(match->file, match->line == 0 ? "" : "ident");
  return std::to_string(match->line) + ": " + match->database_user;
}

struct Checked {
  const char* name;
  std::string_view lines;
  Names system_users;
  std::string database_user;
  int line;  // the line that allows it; 0: none
};

class IdentCheck : public testing::TestWithParam<Checked> {};

TEST_P(IdentCheck, DecidesAsPostgresqlDoes) {
  const auto& [name, lines, system_users, database_user, line] = GetParam();
  const auto match = map_of(lines).check("m", system_users, database_user);
  EXPECT_EQ(shown(match), line == 0 ? "" : std::to_string(line) + ": " + database_user);
}

const std::string kLongName(64, 'n');

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Name, IdentCheck,
    testing::Values(
        Checked{"Equal", "m Ann ann", {"Ann"}, "ann", 1},
        Checked{"SystemUserInAnotherCase", "m Ann ann", {"ann"}, "ann", 0},
        Checked{"DatabaseUserInAnotherCase", "m Ann ann", {"Ann"}, "Ann", 0},
        Checked{"OtherDatabaseUser", "m Ann ann", {"Ann"}, "bob", 0},
        Checked{"OtherMap", "n Ann ann", {"Ann"}, "ann", 0},
        Checked{"MapInAnotherCase", "M Ann ann", {"Ann"}, "ann", 0},
        Checked{"LaterLine", "m Ann bob\nm Bob ann\nm Ann ann\nm Ann all", {"Ann"}, "ann", 3},
        Checked{"Quoted", "\"m\" \"CN=Ann,O=Acme, Inc.\" \"ann\"", {"CN=Ann,O=Acme, Inc."}, "ann", 1},
        Checked{"All", "m Ann all", {"Ann"}, "postgres", 1},
        Checked{"AllQuotedIsAName", "m Ann \"all\"", {"Ann"}, "ann", 0},
        Checked{"AllQuotedIsThatName", "m Ann \"all\"", {"Ann"}, "all", 1},
        Checked{"AllIsNoSystemUser", "m all ann", {"Ann"}, "ann", 0},
        Checked{"PlusQuotedIsAName", "m Ann \"+ann\"", {"Ann"}, "+ann", 1},
        Checked{"PlusIsASystemUser", "m +ann ann", {"+ann"}, "ann", 1},
        Checked{"FirstGroupStandsForItselfWithoutAnExpression", "m Ann \\1", {"Ann"}, "\\1", 1},
        Checked{"EmptySystemUser", "m \"\" ann", {""}, "ann", 0},
        Checked{"EmptyDatabaseUser", "m Ann \"\"", {"Ann"}, "", 0},
        Checked{"EmptyDatabaseUserAmongAll", "m Ann all", {"Ann"}, "", 0},
        Checked{"NoSystemUser", "m /.* all", {}, "ann", 0}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Expression, IdentCheck,
    testing::Values(
        Checked{"WholeName", "m /^[Aa]nn$ ann", {"Ann"}, "ann", 1},
        Checked{"Anywhere", "m /nn ann", {"xAnnx"}, "ann", 1},
        Checked{"NotFound", "m /^nn ann", {"Ann"}, "ann", 0},
        Checked{"InAnotherCase", "m /^ann$ ann", {"ANN"}, "ann", 0},
        Checked{"InAnotherCaseByItsFlag", "m /(?i)^ann$ ann", {"ANN"}, "ann", 1},
        Checked{"Quoted", "m \"/^A, n$\" ann", {"A, n"}, "ann", 1},
        Checked{"OfTheDatabaseUser", "m Ann /^app_", {"Ann"}, "app_ro", 1},
        Checked{"OfTheDatabaseUserQuoted", "m Ann \"/^app_\"", {"Ann"}, "app_ro", 1},
        Checked{"OfTheDatabaseUserNotFound", "m Ann /^app_", {"Ann"}, "my_app_ro", 0},
        Checked{"OfBoth", "m /^A /^app_", {"Ann"}, "app_ro", 1},
        Checked{"All", "m /^A all", {"Ann"}, "postgres", 1},
        Checked{"FirstGroup", R"(m /^(\w+)@example$ \1)", {"ann@example"}, "ann", 1},
        Checked{"FirstGroupOfAnother", R"(m /^(\w+)@example$ \1)", {"ann@example"}, "bob", 0},
        Checked{"FirstGroupWithTextAroundIt", R"(m /^(\w+)@example$ u_\1_x)", {"ann@example"}, "u_ann_x", 1},
        Checked{"FirstGroupQuoted", R"(m /^(\w+)@example$ "\1")", {"ann@example"}, "ann", 1},
        Checked{"FirstGroupTwiceIsReplacedOnce", R"(m /^(\w+)@example$ \1\1)", {"ann@example"}, "ann\\1", 1},
        Checked{"FirstGroupThatHoldsItsOwnName", R"(m "/^(.+)@example$" \1)", {"\\1@example"}, "\\1", 1},
        Checked{"FirstGroupOfTwo", R"(m /^(\w)(\w+)$ \1)", {"ann"}, "a", 1},
        Checked{"SecondGroupIsNotReplaced", R"(m /^(\w)(\w+)$ \2)", {"ann"}, "\\2", 1},
        Checked{"FirstGroupThatSaysAllIsAName", R"(m /^(.*)$ \1)", {"all"}, "postgres", 0},
        Checked{"FirstGroupThatSaysPlusIsAName", R"(m /^(.*)$ \1)", {"+staff"}, "+staff", 1},
        Checked{"FirstGroupThatBeginsWithASlashIsAName", R"(m /^(.*)$ \1)", {"/."}, "ann", 0},
        Checked{"FirstGroupBeforePlusInQuotes", R"(m /^(.*)$ "+\1")", {"ann"}, "+ann", 1},
        Checked{"FirstGroupThatIsEmpty", R"(m /^x(.*)$ \1)", {"x"}, "", 0},
        Checked{"FirstGroupThatIsEmptyWithTextAroundIt", R"(m /^x(.*)$ u\1)", {"x"}, "u", 1},
        Checked{"FirstGroupThatTookNoPartEndsTheSearch", "m /^(a)|b$ \\1\nm b all", {"b"}, "ann", 0},
        Checked{"FirstGroupThatTookNoPartIsNotAskedFor", "m /^(a)|b$ ann", {"b"}, "ann", 1},
        Checked{"FirstGroupThatTookNoPartBehindTheLineThatDecides", "m b all\nm /^(a)|b$ \\1", {"b"}, "ann", 1},
        Checked{"BackslashInAnExpressionOfTheDatabaseUserIsIts", R"(m /^(a)nn$ /^\x61$)", {"ann"}, "a", 1}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Bytes, IdentCheck,
    testing::Values(
        Checked{"Utf8InAGroup", R"(m /^(.+)@example$ \1)", {"j\xc3\xbcrgen@example"}, "j\xc3\xbcrgen", 1},
        Checked{"Utf8InTheExpression", "m /^j\xc3\xbcrgen$ j", {"j\xc3\xbcrgen"}, "j", 1},
        Checked{"DotIsOneByte", "m /^j.rgen$ j", {"j\xc3\xbcrgen"}, "j", 0},
        Checked{"TwoDotsAreTwo", "m /^j..rgen$ j", {"j\xc3\xbcrgen"}, "j", 1},
        Checked{"NoUtf8", R"(m /^(.+)@example$ \1)", {"a\xff@example"}, "a\xff", 1},
        Checked{"Nul", "m /^ann all", {"ann\0.evil"s}, "ann", 0},
        Checked{"NulAtTheEnd", "m ann ann", {"ann\0"s}, "ann", 0},
        Checked{"Newline", "m /^ann$ ann", {"ann\n"}, "ann", 0},
        Checked{"UnitSeparator", "m /^ann all", {"ann\x1f"}, "ann", 0},
        Checked{"Delete", "m /^ann all", {"ann\x7f"}, "ann", 0},
        Checked{"BlankIsNoControlByte", "m \"ann x\" ann", {"ann x"}, "ann", 1},
        Checked{"ByteAboveDelete", "m /^ann all", {"ann\x80"}, "ann", 1}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(
    SeveralNames, IdentCheck,
    testing::Values(
        Checked{"Second", "m b ann", {"a", "b"}, "ann", 1},
        Checked{"LineByLineAndNotNameByName", "m b ann\nm a ann", {"a", "b"}, "ann", 1},
        Checked{"GroupOfTheSecond", R"(m /^x:(.+)$ \1)", {"x:bob", "x:ann"}, "ann", 1},
        Checked{"OneWithANulBesideOneWithout", "m /^a all", {"a\0"s, "ab"}, "ann", 1},
        Checked{"GroupOfTheFirstTookNoPart", "m /^(a)|b$ \\1", {"b", "a"}, "a", 0},
        Checked{"GroupOfTheSecondTookNoPart", "m /^(a)|b$ \\1", {"a", "b"}, "a", 1}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(IdentWithoutMap, WantsEqualNames) {
  const auto map = map_of("m all all\n\"\" ann bob\n");
  EXPECT_EQ(shown(map.check("", {"ann"}, "ann")), "0: ann");
  EXPECT_EQ(shown(map.check("", {"bob", "ann"}, "ann")), "0: ann");
  EXPECT_EQ(shown(map.check("", {"ann"}, "Ann")), "");
  EXPECT_EQ(shown(map.check("", {"ann"}, "bob")), "");
  EXPECT_EQ(shown(map.check("", {}, "ann")), "");
  EXPECT_EQ(shown(map.check("", {""}, "")), "");
  EXPECT_EQ(shown(map.check("", {"ann\0"s}, "ann\0"s)), "");
}

TEST(IdentMap, WithoutLinesMapsNothing) {
  EXPECT_EQ(shown(map_of("# none").check("m", {"ann"}, "ann")), "");
  EXPECT_EQ(shown(IdentMap().check("m", {"ann"}, "ann")), "");
  EXPECT_EQ(shown(IdentMap().check("", {"ann"}, "ann")), "0: ann");
}

TEST(IdentMap, KnowsItsMaps) {
  const auto map = map_of("m a b\n\"other map\" a b\n");
  EXPECT_TRUE(map.has_map("m"));
  EXPECT_TRUE(map.has_map("other map"));
  EXPECT_FALSE(map.has_map("M"));
  EXPECT_FALSE(map.has_map(""));
}

struct Assigned {
  const char* name;
  std::string_view lines;
  const char* map;
  Names system_users;
  std::string asked_user;
  std::string result;  // "LINE: USER"; empty: no user
};

class IdentAssign : public testing::TestWithParam<Assigned> {};

TEST_P(IdentAssign, NamesTheDatabaseUser) {
  const auto& [name, lines, map, system_users, asked_user, result] = GetParam();
  EXPECT_EQ(shown(map_of(lines).assign(map, system_users, asked_user)), result);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Ident, IdentAssign,
    testing::Values(
        Assigned{"NameOfTheFirstLine", "m Bob bob\nm Ann ann\nm Ann other", "m", {"Ann"}, "other", "2: ann"},
        Assigned{"OtherSystemUser", "m Bob bob", "m", {"Ann"}, "bob", ""},
        Assigned{"OtherMap", "n Ann ann", "m", {"Ann"}, "ann", ""},
        Assigned{"Group", R"(m /^(\w+)@example$ app_\1)", "m", {"ann@example"}, "x", "1: app_ann"},
        Assigned{"GroupThatTookNoPart", "m /^(a)|b$ \\1\nm b c", "m", {"b"}, "c", ""},
        Assigned{"GroupThatIsEmpty", "m /^x(.*)$ \\1\nm x y", "m", {"x"}, "z", "2: y"},
        Assigned{"GroupThatSaysAll", R"(m /^(.*)$ \1)", "m", {"all"}, "postgres", "1: all"},
        Assigned{"AllIsWhomTheClientAsked", "m Ann all", "m", {"Ann"}, "bob", "1: bob"},
        Assigned{"AllOfNobody", "m Ann all", "m", {"Ann"}, "", ""},
        Assigned{"ExpressionIsWhomTheClientAsked", "m Ann /^app_\nm Ann ann", "m", {"Ann"}, "app_ro", "1: app_ro"},
        Assigned{"ExpressionThatIsNotInWhomTheClientAsked", "m Ann /^app_\nm Ann ann", "m", {"Ann"}, "bob", "2: ann"},
        Assigned{"LineByLine", "m b bob\nm a ann", "m", {"a", "b"}, "x", "1: bob"},
        Assigned{"LongestName", R"(m /^x(.*)$ \1)", "m", {"x" + kLongName.substr(1)}, "x", "1: " + kLongName.substr(1)},
        Assigned{"NameThatTheServerWouldCut", R"(m /^x(.*)$ \1)", "m", {"x" + kLongName}, "x", ""},
        Assigned{"Nul", "m /^ann all", "m", {"ann\0"s}, "ann", ""},
        Assigned{"WithoutMapTheSystemUser", "", "", {"ann"}, "bob", "0: ann"},
        Assigned{"WithoutMapTheFirstThatIsUsable", "", "", {"", "a\n", kLongName, "ann", "bob"}, "bob", "0: ann"},
        Assigned{"WithoutMapNobody", "", "", {}, "bob", ""}),
    [](const auto& row) { return row.param.name; });
// clang-format on

struct FaultyMap {
  const char* name;
  std::string_view line;
  const char* error;  // "MESSAGE. HINT"
};

class IdentError : public testing::TestWithParam<FaultyMap> {};

TEST_P(IdentError, IsReportedWithItsLineAndAHint) {
  const auto map = parsed_map("# one\n\n" + std::string(GetParam().line) + "\nm Ann ann\n");
  ASSERT_FALSE(map.has_value());
  EXPECT_EQ(shown(map.error()), "ident:3: " + std::string(GetParam().error) + '\n');
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Ident, IdentError,
    testing::Values(
        FaultyMap{"OneName", "m", "the line ends before the database user. Write MAP SYSTEM-USER DATABASE-USER."},
        FaultyMap{"TwoNames", "m Ann", "the line ends before the database user. Write MAP SYSTEM-USER DATABASE-USER."},
        FaultyMap{"Maps", "m,n Ann ann", "field 1 has more than one name, of which the first is \"m\". Write a line for each name. Put a name or a regular expression that contains a comma in quotation marks."},
        FaultyMap{"SystemUsers", "m CN=Ann,O=Acme ann", "field 2 has more than one name, of which the first is \"CN=Ann\". Write a line for each name. Put a name or a regular expression that contains a comma in quotation marks."},
        FaultyMap{"DatabaseUsers", "m Ann ann,bob", "field 3 has more than one name, of which the first is \"ann\". Write a line for each name. Put a name or a regular expression that contains a comma in quotation marks."},
        FaultyMap{"Role", "m Ann +staff", "\"+staff\" depends on the members of a role, which pgveil does not know. Write a line for each role, or use a regular expression."},
        FaultyMap{"RoleWithAGroup", R"(m /^(a)$ +\1)", "\"+\\1\" depends on the members of a role, which pgveil does not know. Write a line for each role, or use a regular expression."},
        FaultyMap{"ExpressionOfTheSystemUser", "m \"/(\" ann", "invalid regular expression \"/(\": parentheses () not balanced. Correct it. docs/access-rules.md lists the parts of PostgreSQL's regular expressions that are supported."},
        FaultyMap{"ExpressionOfTheSystemUserBeforeAGroup", R"(m "/^(" \1)", "invalid regular expression \"/^(\": parentheses () not balanced. Correct it. docs/access-rules.md lists the parts of PostgreSQL's regular expressions that are supported."},
        FaultyMap{"ExpressionOfTheDatabaseUser", R"(m Ann /^(a)\1$)", "invalid regular expression \"/^(a)\\1$\": back references are not supported. Correct it. docs/access-rules.md lists the parts of PostgreSQL's regular expressions that are supported."},
        FaultyMap{"ExpressionWithAControlByte", "m /(\x01 ann", "invalid regular expression \"/(\\x01\": parentheses () not balanced. Correct it. docs/access-rules.md lists the parts of PostgreSQL's regular expressions that are supported."},
        FaultyMap{"NoGroup", R"(m /^\w+$ \1)", "regular expression \"/^\\w+$\" has no group in parentheses for \\1. Write parentheses around the part that is the database user."},
        FaultyMap{"GroupThatIsRepeated", R"(m /^([a-z])+$ \1)", "\\1 is not supported with \"/^([a-z])+$\": its first group is repeated or inside another group, or a quantifier is non-greedy. Write the group outside of other parentheses and without a quantifier after it. Do not write \"?\" after a quantifier."},
        FaultyMap{"GroupInAGroup", R"(m /^(?:x(a|ab))b?$ \1)", "\\1 is not supported with \"/^(?:x(a|ab))b?$\": its first group is repeated or inside another group, or a quantifier is non-greedy. Write the group outside of other parentheses and without a quantifier after it. Do not write \"?\" after a quantifier."},
        FaultyMap{"GroupAfterANonGreedyQuantifier", R"(m /^.*?(\w+)$ \1)", "\\1 is not supported with \"/^.*?(\\w+)$\": its first group is repeated or inside another group, or a quantifier is non-greedy. Write the group outside of other parentheses and without a quantifier after it. Do not write \"?\" after a quantifier."},
        FaultyMap{"GroupThatDoesNotCapture", R"(m /^(?:a|b)$ u\1)", "regular expression \"/^(?:a|b)$\" has no group in parentheses for \\1. Write parentheses around the part that is the database user."}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(IdentErrors, OfAFileAreNamedAllAtOnce) {
  const auto map = parsed_map("m Ann\nm /( +staff\nm Ann ann\nm a,b ann\n");
  ASSERT_FALSE(map.has_value());
  std::vector<int> lines;
  for (const AuthFileError& error : map.error()) lines.push_back(error.line);
  EXPECT_EQ(lines, (std::vector{1, 2, 2, 4}));
}

struct Warned {
  const char* name;
  std::string_view expression;  // without its slash
  bool is_anchored;
};

class IdentExpression : public testing::TestWithParam<Warned> {};

TEST_P(IdentExpression, IsWarnedOfUnlessAnchored) {
  const std::string expression = "/" + std::string(GetParam().expression);
  const std::string warning = "ident:2: regular expression \"" + expression +
                              "\" matches parts of longer names, too. Write ^ before and $ after each "
                              "alternative to match whole names only.\n";
  const std::string expected = GetParam().is_anchored ? "" : warning;
  EXPECT_EQ(shown(map_of("m a b\nm " + expression + " ann").warnings()), expected);
  EXPECT_EQ(shown(map_of("m a b\nm ann " + expression).warnings()), expected);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Ident, IdentExpression,
    testing::Values(
        Warned{"Both", "^ann$", true},
        Warned{"BothAroundNothing", "^$", true},
        Warned{"Neither", "ann", false},
        Warned{"Nothing", "", false},
        Warned{"StartAlone", "^ann", false},
        Warned{"EndAlone", "ann$", false},
        Warned{"AlternativesInAGroup", "^(ann|bob)$", true},
        Warned{"AlternativesThatShareTheAnchors", "^ann|bob$", false},
        Warned{"AlternativesThatHaveTheirOwn", "^ann$|^bob$", true},
        Warned{"AlternativeWithoutStart", "^ann$|bob$", false},
        Warned{"AlternativeWithoutEnd", "^ann|^bob$", false},
        Warned{"EmptyAlternative", "^ann$|", false},
        Warned{"DollarThatIsEscaped", "^ann\\$", false},
        Warned{"DollarBehindAnEscapedBackslash", "^ann\\\\$", true},
        Warned{"DollarInBrackets", "^ann[$]", false},
        Warned{"DollarInAGroup", "^(ann$)", false},
        Warned{"BarInBrackets", "^[a|b]nn$", true},
        Warned{"BarEscaped", "^a\\|b$", true},
        Warned{"BracketFirstInBrackets", "^[]|]x$", true},
        Warned{"BracketFirstInNegatedBrackets", "^[^]|]x$", true},
        Warned{"BracketEscapedInBrackets", "^[a\\]|]x$", true},
        Warned{"NamedClassInBrackets", "^[[:alpha:]|]x$", true},
        Warned{"ParenthesisInBrackets", "^[(]a|b$", false},
        Warned{"Flags", "(?i)^ann$", true},
        Warned{"BeginAndEndOfTheString", "\\Aann\\Z", true},
        Warned{"QuantifierAfterTheEndOfABranch", "^ann$|^bob+", false}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(IdentWarning, IsOfAGroupThatNobodyReplaces) {
  EXPECT_EQ(
      shown(map_of("m Ann \\1").warnings()),
      "ident:1: \\1 is not replaced, since the system user is not a regular expression. Write a slash before the "
      "system user to make it a regular expression, or write a name instead of \\1.\n");
}

TEST(IdentWarning, IsOfWordsThatAreIgnored) {
  EXPECT_EQ(shown(map_of("m Ann Smith ann\nm \"Ann Smith\" ann # hers\n").warnings()),
            "ident:1: text after the third name is ignored: \"ann\". Put a name that contains a blank in "
            "quotation marks.\n");
}

TEST(IdentWarning, SurvivesAMove) {
  auto map = map_of("m /a ann");
  const auto moved = std::move(map);
  EXPECT_EQ(moved.warnings().size(), 1u);
  EXPECT_EQ(shown(moved.check("m", {"a"}, "ann")), "1: ann");
}

TEST(IdentMap, TakesLinearTimeOnANameThatIsMadeToBacktrack) {
  const auto map = map_of("m /^(a+)+$ all");
  EXPECT_EQ(shown(map.check("m", {std::string(100'000, 'a') + "!"}, "ann")), "");
}

}  // namespace
}  // namespace pgveil::protocol
