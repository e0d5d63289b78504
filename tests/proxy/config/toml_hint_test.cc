#include "proxy/config/toml_hint.h"

#include <gtest/gtest.h>

namespace pgveil::proxy {
namespace {

struct Faulty {
  std::string name;
  std::string toml;
  std::size_t line;
  std::string hint;
};
void PrintTo(const Faulty& row, std::ostream* out) {
  *out << row.name;
}
class TomlHint : public testing::TestWithParam<Faulty> {};

TEST_P(TomlHint, SaysWhatToDo) {
  EXPECT_PRED_FORMAT2(testing::IsSubstring, GetParam().hint, toml_hint(GetParam().toml, GetParam().line));
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Config, TomlHint,
    testing::Values(
        Faulty{"AddressWithoutQuotes", "[[listener]]\naddress = 127.0.0.1:5432\n", 2, "Write the value in quotes: address = \"127.0.0.1:5432\"."},
        Faulty{"WordWithoutQuotes", "upstream = primary  # ours\n", 1, "Write the value in quotes: upstream = \"primary\"."},
        Faulty{"NoValue", "level =\n", 1, "Write a value after \"=\"."},
        Faulty{"TextThatIsNotClosed", "host = \"db01\n", 1, "The string that begins in column 8 is not closed."},
        Faulty{"IndentedTextThatIsNotClosed", "  host = 'db01\n", 1, "The string that begins in column 10 is not closed."},
        Faulty{"TextWithAnEscapedQuote", "host = \"db01\\\"\n", 1, "In double quotes, a backslash begins an escape sequence"},
        Faulty{"TypographicQuotes", "host = \u201cdb01\u201d\n", 1, "straight quotes"},
        Faulty{"BackslashInADoubleQuotedText", "hba = \"\"\"\nhostssl all /^a\\d+$ all cert\n\"\"\"\n", 2, "single quotes"},
        Faulty{"BackslashInALine", "hba = \"host all /^a\\d all cert\"\n", 1, "single quotes"},
        Faulty{"OctalMode", "unix_socket_permissions = 0770\n", 1, "unix_socket_permissions = \"0770\""},
        Faulty{"NumberWithAZeroBeforeIt", "port = 05432\n", 1, "Write a number without leading zeros."},
        Faulty{"CommentWithASemicolon", "; the server\n", 1, "Begin a comment with \"#\"."},
        Faulty{"CommentWithSlashes", "// the server\n", 1, "Begin a comment with \"#\"."},
        Faulty{"Utf16", std::string("\xff\xfe[\0[\0", 6), 1, "Save it in UTF-8"},
        Faulty{"Utf16WithoutMark", std::string("[\0[\0l\0", 6), 1, "Save it in UTF-8"},
        Faulty{"TextOfSeveralLinesThatIsNotClosed", "a = '''x'''\nhba = \"\"\"\nhost all all all relay\n[log]\n", 4, "The text that begins in line 2 is not closed."},
        Faulty{"WordForABoolean", "keepalives = yes\n", 1, "Write true or false."},
        Faulty{"ColonInPlaceOfEquals", "address: \"127.0.0.1:5432\"\n", 1, "Write \"=\" between a key and its value."},
        Faulty{"CommaAfterAValue", "host = \"db01\",\n", 1, "Write nothing but a comment after the value."},
        Faulty{"SectionThatIsNotClosed", "[[listener]\n", 1, "[limits] or [[listener]]"},
        Faulty{"SomethingElse", "listener\n", 1, "https://toml.io"},
        Faulty{"LineThatIsNotThere", "a = 1\n", 9, "https://toml.io"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

}  // namespace
}  // namespace pgveil::proxy
