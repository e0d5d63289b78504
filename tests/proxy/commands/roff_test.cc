#include "proxy/commands/roff.h"

#include <gtest/gtest.h>

#include <string>

namespace pgveil::proxy::roff {
namespace {

TEST(Roff, PrintsEveryCharacterAsItIs) {
  EXPECT_EQ(escaped("--json"), "\\-\\-json");
  EXPECT_EQ(escaped("/^(.*)@example\\.com$ \\1"), "/\\(ha(.*)@example\\e.com$ \\e1");
  EXPECT_EQ(escaped("it's \"~\" and a `"), "it\\(aqs \\(dq\\(ti\\(dq and a \\(ga");
}

TEST(Roff, TakesNoLineOfTextForARequest) {
  EXPECT_EQ(filled(".pgpass"), "\\&.pgpass\n");
  EXPECT_EQ(filled(std::string(76, 'x') + " .pgpass"), std::string(76, 'x') + "\n\\&.pgpass\n");
  EXPECT_EQ(example("a\n.TH\n'b"), ".PP\n.EX\na\n\\&.TH\n\\(aqb\n.EE\n");
}

TEST(Roff, ShowsInBoldWhatIsBetweenBackticks) {
  EXPECT_EQ(filled("needs `ssl_key_file`, or `--sslkey`."),
            "needs \\fBssl_key_file\\fR, or \\fB\\-\\-sslkey\\fR.\n");
  EXPECT_EQ(filled("one ` alone"), "one \\(ga alone\n");
}

TEST(Roff, KeepsWordsOfAHeadingTogether) {
  EXPECT_EQ(section("[upstream.NAME]"), ".SH \"[upstream.NAME]\"\n");
  EXPECT_EQ(subsection("pgveil certs show FILE..."), ".SS \"pgveil certs show FILE...\"\n");
}

}  // namespace
}  // namespace pgveil::proxy::roff
