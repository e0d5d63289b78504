// Regular expressions with PostgreSQL's meaning. The expected values are PostgreSQL's; many more are compared
// with PostgreSQL by tests/integration/test_regular_expressions.py.
#include "protocol/name_pattern.h"

#include <gtest/gtest.h>

#include <ostream>

namespace pgveil::protocol {
namespace {

struct Searched {
  const char* name;
  std::string expression;
  std::string text;
  bool is_in;
};
void PrintTo(const Searched& row, std::ostream* out) {
  *out << row.expression;
}

class NamePatternSearch : public testing::TestWithParam<Searched> {};

TEST_P(NamePatternSearch, FindsWhatPostgresqlFinds) {
  const auto pattern = NamePattern::compile(GetParam().expression);
  ASSERT_TRUE(pattern.has_value()) << pattern.error();
  EXPECT_EQ(pattern->is_in(GetParam().text), GetParam().is_in);
  EXPECT_EQ(pattern->find_in(GetParam().text).has_value(), GetParam().is_in);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    NamePattern, NamePatternSearch,
    testing::Values(
        Searched{"Empty", "", "ann", true},
        Searched{"EmptyAlternative", "^ann$|", "bob", true},
        Searched{"EmptyGroup", "^()ann()*$", "ann", true},
        Searched{"Bound", "^a{1,3}$", "aaa", true},
        Searched{"BoundExceeded", "^a{1,3}$", "aaaa", false},
        Searched{"BoundWithoutMost", "^a{2,}$", "aaaa", true},
        Searched{"BraceBeforeALetterIsItself", "^a{x}$", "a{x}", true},
        Searched{"BraceBeforeACommaIsItself", "^a{,2}$", "a{,2}", true},
        Searched{"ClosingBraceIsItself", "^a}$", "a}", true},
        Searched{"NonGreedy", "^a*?$", "aaa", true},
        Searched{"DollarIsTheEndAlone", "^ann$", "ann\n", false},
        Searched{"DotIsANewline", "^a.n$", "a\nn", true},
        Searched{"ComplementHasANewline", "^a[^x]n$", "a\nn", true},
        Searched{"BeginAndEndOfString", "\\Aann\\Z", "ann", true},
        Searched{"EndOfStringIsNotBeforeANewline", "\\Aann\\Z", "ann\n", false},
        Searched{"WordBoundary", "^\\yann\\y", "ann-x", true},
        Searched{"WordBoundaryInsideAWord", "^ann\\y", "ann_x", false},
        Searched{"NoWordBoundary", "^ann\\Y", "ann_x", true},
        Searched{"Digits", "^\\d+$", "012", true},
        Searched{"WordIsAscii", "^\\w$", "\xe9", false},
        Searched{"SpaceHasTheVerticalTab", "^\\s$", "\v", true},
        Searched{"ClassEscapeInBrackets", "^[\\w-]+$", "a-b", true},
        Searched{"HexadecimalTakesAllDigits", "^\\x0000061$", "a", true},
        Searched{"Options", "(?i)^ann$", "ANN", true},
        Searched{"OptionsAreOfAsciiOnly", "(?i)^\xc3\xa9$", "\xe3\xa9", false},
        Searched{"OptionsChangeRanges", "(?i)^[k-m]$", "L", true},
        Searched{"OptionsChangeClasses", "(?i)^[[:lower:]]$", "L", true},
        Searched{"OptionOfCaseTheLastCounts", "(?ic)^ann$", "ANN", false},
        Searched{"BracketFirst", "^[]a]$", "]", true},
        Searched{"HyphenLast", "^[a-]$", "-", true},
        Searched{"HyphenAsTheFirstOfARange", "^[--/]$", ".", true},
        Searched{"CaretNotFirst", "^[a^]$", "^", true},
        Searched{"ControlHasTheC1Controls", "^[[:cntrl:]]$", "\x85", true}),
    [](const auto& row) { return row.param.name; });
// clang-format on

struct Grouped {
  const char* name;
  std::string expression;
  std::string text;
  std::string group;  // the first group
};
void PrintTo(const Grouped& row, std::ostream* out) {
  *out << row.expression;
}

class NamePatternGroup : public testing::TestWithParam<Grouped> {};

TEST_P(NamePatternGroup, IsThatOfPostgresql) {
  const auto pattern = NamePattern::compile(GetParam().expression);
  ASSERT_TRUE(pattern.has_value()) << pattern.error();
  ASSERT_TRUE(pattern->can_tell_first_group());
  const auto found = pattern->find_in(GetParam().text);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->first_group.value_or("(none)"), GetParam().group);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    NamePattern, NamePatternGroup,
    testing::Values(
        Grouped{"LongestAlternative", "^(app|app_ro)", "app_ro", "app_ro"},
        Grouped{"LongestAlternativeThatLeavesTheRest", "^(app|app_ro)_(.*)$", "app_ro_x", "app_ro"},
        Grouped{"LongestMatchOfAll", "(a|ab)(c|bcd)", "abcd", "a"},
        Grouped{"LongestBeforeTheGroup", "^(?:a|ab)(.*)$", "abc", "c"},
        Grouped{"AtTheLastOfTwo", "^(.*)@(.*)$", "a@b@c", "a@b"},
        Grouped{"WithAlternativesInside", "^((?:x|xy)+)z?", "xyxz", "xyx"},
        Grouped{"OfTheFirstBranchThatIsAllOfTheMatch", "^(a)$|^a(.*)$", "a", "a"},
        Grouped{"OfALaterBranch", "^b$|^a(.*)$", "ann", "nn"},
        Grouped{"OfABranchThatTookNoPart", "^a$|^a(.*)$", "a", "(none)"},
        Grouped{"Empty", "^x(.*)$", "x", ""}),
    [](const auto& row) { return row.param.name; });

struct RefusedPattern {
  const char* name;
  std::string expression;
  const char* error;
};
void PrintTo(const RefusedPattern& row, std::ostream* out) {
  *out << row.expression;
}

class NamePatternMistake : public testing::TestWithParam<RefusedPattern> {};

TEST_P(NamePatternMistake, IsRefused) {
  const auto pattern = NamePattern::compile(GetParam().expression);
  ASSERT_FALSE(pattern.has_value());
  EXPECT_EQ(pattern.error(), GetParam().error);
}

INSTANTIATE_TEST_SUITE_P(
    NamePattern, NamePatternMistake,
    testing::Values(
        // PostgreSQL refuses them, too.
        RefusedPattern{"BraceAlone", "^guest[0-9]{1", "braces {} not balanced"},
        RefusedPattern{"BraceWithAnotherCharacter", "a{1x}", "invalid repetition count(s)"},
        RefusedPattern{"BoundAboveThoseOfPostgresql", "a{256}", "invalid repetition count(s)"},
        RefusedPattern{"BoundTurnedRound", "a{2,1}", "invalid repetition count(s)"},
        RefusedPattern{"QuantifierTwice", "a**", "quantifier operand invalid"},
        RefusedPattern{"PossessiveQuantifier", "a*+", "quantifier operand invalid"},
        RefusedPattern{"QuantifierAfterABound", "a{2}{3}", "quantifier operand invalid"},
        RefusedPattern{"QuantifierAtTheBeginning", "*a", "quantifier operand invalid"},
        RefusedPattern{"QuantifierInAnEmptyAlternative", "a|*", "quantifier operand invalid"},
        RefusedPattern{"QuantifierOfAConstraint", "^*a", "quantifier operand invalid"},
        RefusedPattern{"QuantifierOfTheEnd", "a$?", "quantifier operand invalid"},
        RefusedPattern{"QuantifierOfABoundary", "\\y+a", "quantifier operand invalid"},
        RefusedPattern{"ParenthesisOpen", "(a", "parentheses () not balanced"},
        RefusedPattern{"ParenthesisClosed", "a)", "parentheses () not balanced"},
        RefusedPattern{"BracketOpen", "[a", "brackets [] not balanced"},
        RefusedPattern{"RangeTurnedRound", "[c-a]", "invalid character range"},
        RefusedPattern{"RangeOfARange", "[a-c-e]", "invalid character range"},
        RefusedPattern{"RangeToAClass", "[a-\\d]", "invalid character range"},
        RefusedPattern{"RangeFromAClass", "[\\w-a]", "invalid character range"},
        RefusedPattern{"UnknownClass", "[[:foo:]]", "invalid character class"},
        RefusedPattern{"NegatedClass", "[[:^alpha:]]", "invalid character class"},
        RefusedPattern{"BackslashAtTheEnd", "a\\", "invalid escape \\ sequence"},
        RefusedPattern{"EndOfTextOfRe2", "a\\z", "invalid escape \\ sequence"},
        RefusedPattern{"QuotationOfRe2", "\\Qa\\E", "invalid escape \\ sequence"},
        RefusedPattern{"UnicodeClassOfRe2", "\\pL", "invalid escape \\ sequence"},
        RefusedPattern{"ByteOfRe2", "\\C", "invalid escape \\ sequence"},
        RefusedPattern{"BoundaryInBrackets", "[\\y]", "invalid escape \\ sequence"},
        RefusedPattern{"HexadecimalWithoutDigits", "\\x{61}", "invalid escape \\ sequence"},
        RefusedPattern{"NamedGroupOfRe2", "(?P<a>b)", "of the embedded options only (?i), (?c), (?s) and (?t) are supported"},
        RefusedPattern{"OptionsOfRe2ForAGroup", "(?i:a)", "invalid embedded option"},
        RefusedPattern{"OptionsTakenBack", "(?i-s)a", "invalid embedded option"},
        RefusedPattern{"OptionsNotAtTheBeginning", "a(?i)b", "(? may be followed by : only, or by options at the beginning"},
        // They have a meaning in PostgreSQL that RE2 does not support.
        RefusedPattern{"LiteralDirector", "***=a", "directors such as ***: and ***= are not supported"},
        RefusedPattern{"DirectorOfAnAre", "***:a", "directors such as ***: and ***= are not supported"},
        RefusedPattern{"OptionOfNewlines", "(?n)a", "of the embedded options only (?i), (?c), (?s) and (?t) are supported"},
        RefusedPattern{"OptionOfMoreLines", "(?m)a", "of the embedded options only (?i), (?c), (?s) and (?t) are supported"},
        RefusedPattern{"OptionOfExpandedSyntax", "(?x)a", "of the embedded options only (?i), (?c), (?s) and (?t) are supported"},
        RefusedPattern{"OptionOfALiteral", "(?q)a", "of the embedded options only (?i), (?c), (?s) and (?t) are supported"},
        RefusedPattern{"LookingAhead", "a(?=b)", "lookahead and lookbehind are not supported"},
        RefusedPattern{"LookingAheadForNot", "a(?!b)", "lookahead and lookbehind are not supported"},
        RefusedPattern{"LookingBehind", "(?<=a)b", "lookahead and lookbehind are not supported"},
        RefusedPattern{"Comment", "a(?#b)", "(? may be followed by : only, or by options at the beginning"},
        RefusedPattern{"BackReference", "(a)\\1", "back references are not supported"},
        RefusedPattern{"BeginOfAWord", "\\ma", "\\m and \\M are not supported; \\y matches at both ends of a word"},
        RefusedPattern{"EndOfAWord", "a\\M", "\\m and \\M are not supported; \\y matches at both ends of a word"},
        RefusedPattern{"BeginOfAWordInBrackets", "[[:<:]]a", "[[:<:]] and [[:>:]] are not supported"},
        RefusedPattern{"Backspace", "\\ba", "\\b and \\B are not word boundaries in PostgreSQL; \\y and \\Y are"},
        RefusedPattern{"Backslash", "\\Ba", "\\b and \\B are not word boundaries in PostgreSQL; \\y and \\Y are"},
        RefusedPattern{"CollatingElement", "[[.a.]]", "collating elements and equivalence classes, [. .] and [= =], are not supported"},
        RefusedPattern{"EquivalenceClass", "[[=a=]]", "collating elements and equivalence classes, [. .] and [= =], are not supported"},
        RefusedPattern{"Unicode", "\\u0061", "the escape \\u is not supported"},
        RefusedPattern{"ControlCharacter", "\\cA", "the escape \\c is not supported"},
        RefusedPattern{"Octal", "\\061", "the escape \\0 is not supported"},
        RefusedPattern{"HexadecimalAboveAByte", "\\x161", "the escape \\x is not supported for more than one byte"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(NamePatternGroups, OfAVeryLongNameAreNotLookedFor) {
  const auto pattern = NamePattern::compile("^(a*)$");
  ASSERT_TRUE(pattern.has_value());
  EXPECT_EQ(pattern->find_in(std::string(4096, 'a'))->first_group, std::string(4096, 'a'));
  EXPECT_EQ(pattern->find_in(std::string(4097, 'a'))->first_group, std::nullopt);
}

}  // namespace
}  // namespace pgveil::protocol
