#include "proxy/config/config_report.h"

#include <gtest/gtest.h>

#include <string>

namespace pgveil::proxy {
namespace {

ConfigError error_at(const std::string& file, int line, const std::string& key,
                     const std::string& message = "is wrong") {
  return {file, line, key, message, "Correct it."};
}

TEST(ConfigReport, ShowsErrorsAndWarningsByFileAndLineWithTheirNumbers) {
  ConfigReport report;
  report.add_error(error_at("pgveil.toml", 12, "log.level"));
  report.add_error(error_at("pgveil.toml", 3, "listener[0].address"));
  report.add_warning(error_at("pgveil.toml", 7, "upstream.a"));
  report.add_error(error_at("--log-level", 0, "log.level"));
  EXPECT_EQ(report.text(),
            "error: --log-level: is wrong\n  hint: Correct it.\n"
            "error: pgveil.toml:3: listener[0].address: is wrong\n  hint: Correct it.\n"
            "warning: pgveil.toml:7: upstream.a: is wrong\n  hint: Correct it.\n"
            "error: pgveil.toml:12: log.level: is wrong\n  hint: Correct it.\n"
            "3 errors, 1 warning\n");
}

TEST(ConfigReport, ReportsEachOnce) {
  ConfigReport report;
  for (int times = 0; times < 2; ++times) report.add_error(error_at("a", 1, "k"));
  report.add_error(error_at("a", 1, "k", "is too long"));
  EXPECT_EQ(report.errors().size(), 2U);
  EXPECT_EQ(report.count_line(), "2 errors\n");
}

TEST(ConfigReport, CountsOneOfEach) {
  ConfigReport report;
  EXPECT_EQ(report.text(), "");
  report.add_warning(error_at("a", 1, "k"));
  EXPECT_EQ(report.count_line(), "1 warning\n");
  report.add_error(error_at("a", 1, "k"));
  EXPECT_EQ(report.count_line(), "1 error, 1 warning\n");
}

TEST(ConfigReport, LeavesOutWhatHasACauseThatIsReported) {
  SourceLocations locations;
  for (const char* key : {"upstream.a.host", "upstream.a.sslkey", "upstream.b"})
    locations.note(key, {"pgveil.toml", 1});
  ConfigReport report;
  report.add_error(error_at("pgveil.toml", 1, "upstream.a.host"));
  ConfigReport later;
  later.add_error(error_at("pgveil.toml", 1, "upstream.a.host", "cannot be used"));  // reported already
  later.add_error(
      error_at("pgveil.toml", 1, "upstream.a.sslcert", "is missing"));  // not set, in a section with an error
  later.add_error(error_at("pgveil.toml", 1, "upstream.a.sslkey", "does not exist"));
  later.add_error(error_at("pgveil.toml", 1, "upstream.b.sslcert", "is missing"));
  later.add_warning(error_at("pgveil.toml", 1, "log"));
  report.add_later(std::move(later), locations);
  EXPECT_EQ(report.errors().size(), 3U) << report.text();
  EXPECT_TRUE(report.warnings().empty());
}

TEST(ConfigReport, ShowsNoPassword) {
  ConfigReport report;
  report.add_error(error_at("pgveil.toml", 1, "k", "postgres://app:hunter2@db01 is wrong"));
  EXPECT_EQ(report.text().find("hunter2"), std::string::npos) << report.text();
}

TEST(ConfigError, NamesItsSettingOnce) {
  EXPECT_EQ(error_at("--hba", 2, "listener[0].hba").location(), "--hba:2: ");
  EXPECT_EQ(error_at("PGVEIL_HBA", 2, "listener[0].hba").location(), "PGVEIL_HBA:2: ");
  EXPECT_EQ(error_at("--log-level", 0, "log.level").location(), "--log-level: ");
}

TEST(ConfigError, IsShownInOneLine) {
  EXPECT_EQ(error_at("pgveil.toml", 7, "log.level").text(),
            "pgveil.toml:7: log.level: is wrong. Correct it.");
}

}  // namespace
}  // namespace pgveil::proxy
