#include "proxy/diagnostics/log.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/captured_log.h"

namespace pgveil::proxy {
namespace {

using test::CapturedLog;
using test::json_log;
using test::text_log;

// The line that `write` writes to a log with this format, without its time.
template <class Write>
std::string line_of(const LogConfig& config, const Write& write) {
  CapturedLog log(config);
  write();
  const auto lines = log.lines();
  return lines.size() == 1 ? lines[0] : std::to_string(lines.size()) + " lines";
}

void log_every_kind() {
  LogLine(LogLevel::warning, "event")
      .add("text", "plain")
      .add("quoted", "two words")
      .add("empty", "")
      .add("number", 18'446'744'073'709'551'615U)
      .add_number("zero", 0)
      .add_number("no_number", std::nullopt)
      .add_flag("on", true)
      .add_flag("off", false)
      .add_flag("unknown", std::nullopt);
}

TEST(TextLog, LeavesOutWhatHasNoValue) {
  EXPECT_EQ(line_of(text_log, log_every_kind),
            R"(W event text=plain quoted="two words" number=18446744073709551615 zero=0 on=yes off=no)");
}

TEST(JsonLog, HasNumbersBooleansAndNull) {
  EXPECT_EQ(
      line_of(json_log, log_every_kind),
      R"({"level":"warning","event":"event","text":"plain","quoted":"two words","empty":null,)"
      R"("number":18446744073709551615,"zero":0,"no_number":null,"on":true,"off":false,"unknown":null})");
}

TEST(Log, TakesNothingAfterItsEnd) {
  EXPECT_EQ(line_of(text_log, [] {}), "0 lines");
  EXPECT_FALSE(should_log(LogLevel::error));
  LogLine(LogLevel::error, "too_late");
}

// Another thread may be at a line when the log ends.
TEST(Log, MayEndBeforeALineIsComplete) {
  CapturedLog log(text_log);
  LogLine line(LogLevel::error, "too_late");
  EXPECT_TRUE(log.lines().empty());
  line.add("key", "value");
}

TEST(Log, HasTheFieldsThatSeveralLinesShareAsItsOwn) {
  const auto write = [] {
    LogFields fields;
    fields.add("a", "b").add("n", 1).add_flag("f", true).add("none", "");
    LogLine(LogLevel::info, "event").add_fields(fields.text());
  };
  EXPECT_EQ(line_of(text_log, write), "I event a=b n=1 f=yes");
  EXPECT_EQ(line_of(json_log, write),
            R"({"level":"info","event":"event","a":"b","n":1,"f":true,"none":null})");
}

struct Written {
  std::string name;
  std::string value;
  std::string text;  // how it stands in a line of text
};

class LogValue : public testing::TestWithParam<Written> {
 protected:
  static std::string line(const LogConfig& config) {
    return line_of(config, [] { LogLine(LogLevel::info, "event").add("key", GetParam().value); });
  }
};

TEST_P(LogValue, CannotWriteALineOrAKeyOfItsOwn) {
  EXPECT_EQ(line(text_log), "I event key=" + GetParam().text);
}

TEST_P(LogValue, IsEscapedInJsonAsInText) {
  const std::string quoted = GetParam().text.front() == '"' ? GetParam().text : '"' + GetParam().text + '"';
  EXPECT_EQ(line(json_log), R"({"level":"info","event":"event","key":)" + quoted + '}');
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Log, LogValue,
    testing::Values(
        Written{"Plain", "a-b_c:d/e[1]", "a-b_c:d/e[1]"},
        Written{"Hyphen", "-", "-"},
        Written{"Space", "a b", R"("a b")"},
        Written{"EqualsSign", "reason=none", R"("reason=none")"},
        Written{"Quote", R"(a"b)", R"("a\"b")"},
        Written{"Backslash", R"(a\nb)", R"("a\\nb")"},
        Written{"EndOfQuotes", R"(x" reason=none y=")", R"("x\" reason=none y=\"")"},
        Written{"LineFeed", "a\nb", R"("a\u000ab")"},
        Written{"CarriageReturn", "a\rb", R"("a\u000db")"},
        Written{"Zero", std::string("a\0b", 3), R"("a\u0000b")"},
        Written{"Escape", "\x1b[2J", R"("\u001b[2J")"},
        Written{"Delete", "\x7f", R"("\u007f")"},
        Written{"Letters", "J\xc3\xbcrgen \xe6\x97\xa5", "\"J\xc3\xbcrgen \xe6\x97\xa5\""},
        Written{"Emoji", "\xf0\x9f\x90\x98", "\"\xf0\x9f\x90\x98\""},
        Written{"NextLine", "a\xc2\x85" "b", R"("a\u0085b")"},
        Written{"ControlSequenceOfC1", "\xc2\x9b" "2J", R"("\u009b2J")"},
        Written{"LineSeparator", "a\xe2\x80\xa8" "b", R"("a\u2028b")"},
        Written{"ParagraphSeparator", "a\xe2\x80\xa9" "b", R"("a\u2029b")"},
        Written{"RightToLeftOverride", "\xe2\x80\xae" "nimda", R"("\u202enimda")"},
        Written{"Isolate", "\xe2\x81\xa6" "a", R"("\u2066a")"},
        Written{"LeftToRightMark", "\xe2\x80\x8e" "a", R"("\u200ea")"},
        Written{"RightToLeftMark", "\xe2\x80\x8f" "a", R"("\u200fa")"},
        Written{"CharacterBeforeTheMarks", "\xe2\x80\x8d", "\"\xe2\x80\x8d\""},
        Written{"HyphenAfterTheMarks", "\xe2\x80\x90", "\"\xe2\x80\x90\""},
        Written{"ArabicLetterMark", "\xd8\x9c" "a", R"("\u061ca")"},
        Written{"NoUtf8", "a\xff" "b", R"("a\u00ffb")"},
        Written{"Overlong", "\xc0\x8a", R"("\u00c0\u008a")"},
        Written{"OverlongInThreeBytes", "\xe0\x80\x8a", R"("\u00e0\u0080\u008a")"},
        Written{"OverlongInFourBytes", "\xf0\x80\x80\x8a", R"("\u00f0\u0080\u0080\u008a")"},
        Written{"AboveUnicode", "\xf4\x90\x80\x80", R"("\u00f4\u0090\u0080\u0080")"},
        Written{"HalfOfASequence", "\xe6\x97", R"("\u00e6\u0097")"},
        Written{"Surrogate", "\xed\xa0\x80", R"("\u00ed\u00a0\u0080")"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

}  // namespace
}  // namespace pgveil::proxy
