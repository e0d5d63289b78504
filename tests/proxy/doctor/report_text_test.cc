#include "proxy/doctor/report_text.h"

#include <gtest/gtest.h>

#include "proxy/doctor/report_json.h"

namespace pgveil::proxy {
namespace {

Report report_with(Step step) {
  ServerReport server{.upstream = "", .server = "db01:5432", .steps = {}, .chain = {}, .verdict = {}};
  server.steps.push_back(std::move(step));
  return {.servers = {std::move(server)}, .listeners = {}};
}

TEST(AReport, HasAMarkADurationAndALineForEachStep) {
  const auto report = report_with({.name = "tcp",
                                   .outcome = Outcome::passed,
                                   .text = "10.0.0.7:5432",
                                   .duration = std::chrono::microseconds(1'234)});
  EXPECT_EQ(report_text(report, false), "db01:5432\n  ✓ tcp           1.2 ms  10.0.0.7:5432\n");
}

TEST(AReport, HasColoursOnlyIfAsked) {
  const auto report = report_with({.name = "tcp", .outcome = Outcome::failed, .text = "x"});
  EXPECT_EQ(report_text(report, false).find('\x1b'), std::string::npos);
  EXPECT_NE(report_text(report, true).find("\x1b[31m✗\x1b[0m"), std::string::npos);
}

TEST(AReport, HasCauseRemedyAndSideBelowAStep) {
  const auto report = report_with({.name = "verdict",
                                   .outcome = Outcome::failed,
                                   .text = "no",
                                   .finding = Finding{Side::authority, "It is so.", "Change it."}});
  EXPECT_EQ(report_text(report, false),
            "db01:5432\n  ✗ verdict               no\n    cause:   It is so.\n    remedy:  Change it.\n"
            "    side:    CA\n");
}

TEST(AReport, HasTheSslmodesAfterTheStepsAndMarksTheOneThatVerifiesEverything) {
  auto report = report_with({.name = "tcp", .outcome = Outcome::passed, .text = "x"});
  report.servers.front().sslmodes = {{.mode = "require",
                                      .result = SslModeForecast::Result::tls,
                                      .text = "connects over TLS",
                                      .unprotected = "a false server"},
                                     {.mode = "verify-full",
                                      .result = SslModeForecast::Result::tls,
                                      .verifies_chain = true,
                                      .verifies_name = true,
                                      .text = "connects over TLS",
                                      .unprotected = ""}};
  EXPECT_TRUE(
      report_text(report, false)
          .ends_with("  sslmode of libpq:\n"
                     "  – require               connects over TLS; no protection against a false server\n"
                     "  ✓ verify-full           connects over TLS\n"));
  EXPECT_FALSE(has_failed(report));
}

TEST(AReport, HasNullInJsonForWhatIsNotKnown) {
  const auto json = report_json(report_with({.name = "tcp", .text = "x"}), 0);
  for (const char* key : {"answers", "tls", "session"})
    EXPECT_NE(json.find('"' + std::string(key) + "\": null"), std::string::npos) << key;
}

TEST(AReport, EscapesWhatAServerHasSent) {
  const auto report = report_with({.name = "x", .text = "\x1b]0;owned\x07\n\xff"});
  const std::string text = report_text(report, false);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(text.find('\x07'), std::string::npos);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
  const std::string json = report_json(report, 0);
  EXPECT_EQ(json.find('\x1b'), std::string::npos);
  EXPECT_EQ(json.find('\xff'), std::string::npos);
}

TEST(AReport, HasTheListenersAfterTheServers) {
  Report report = report_with({.name = "tcp", .text = "x"});
  report.listeners.push_back({.listener = "127.0.0.1:6432", .steps = {{.name = "crl", .text = "y"}}});
  EXPECT_EQ(
      report_text(report, false),
      "db01:5432\n  – tcp                   x\n\nlistener 127.0.0.1:6432\n  – crl                   y\n");
}

TEST(AReport, FailsIfAStepFails) {
  EXPECT_TRUE(has_failed(report_with({.name = "x", .outcome = Outcome::failed, .text = ""})));
  EXPECT_FALSE(has_failed(report_with({.name = "x", .outcome = Outcome::noted, .text = ""})));
}

}  // namespace
}  // namespace pgveil::proxy
