#include "proxy/commands/sessions.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/proxy/commands/invocations.h"

namespace pgveil::proxy {
namespace {

constexpr std::string_view kSessions = R"({"schema": 1, "sessions": [
  {"session": "a-1", "worker": 1, "age_seconds": 7260.5, "phase": "relay", "state": "idle",
   "bytes": {"to_client": 10, "to_server": 2000}, "listener": "127.0.0.1:5432", "client": "10.1.2.3:4711",
   "identity": "CN=ann", "user": "billing", "database": "ledger", "rule": "hba:7", "upstream": "primary",
   "server": "10.9.9.9:5432", "client_tls": "TLSv1.3", "server_tls": "TLSv1.2"},
  {"session": "a-2", "worker": 2, "age_seconds": 3.2, "phase": "negotiate", "state": null,
   "bytes": {"to_client": 0, "to_server": 0}, "listener": "127.0.0.1:5432", "client": "10.1.2.4:4711",
   "identity": null, "user": null, "database": null, "rule": null, "upstream": "primary", "server": null,
   "client_tls": null, "server_tls": null}]})";

std::string first_names(const SessionsQuery& query) {
  const std::string text = sessions_text(kSessions, query);
  std::string names;
  for (std::size_t line = text.find('\n') + 1; line < text.size(); line = text.find('\n', line) + 1)
    names += text.substr(line, 4);
  return names;
}

TEST(SessionsText, IsForATerminal) {
  EXPECT_EQ(
      sessions_text(kSessions, {}),
      "SESSION  AGE        STATE      USER     DATABASE  CLIENT         UPSTREAM  SERVER         TLS              TO CLIENT  TO SERVER  RULE   IDENTITY\n"
      "a-1      2 h 1 min  idle       billing  ledger    10.1.2.3:4711  primary   10.9.9.9:5432  TLSv1.3/TLSv1.2  10 B       2.0 kB     hba:7  CN=ann\n"
      "a-2      3 s        negotiate  -        -         10.1.2.4:4711  primary   -              -/-              0 B        0 B        -      -\n");
}

TEST(SessionsText, IsSorted) {
  EXPECT_EQ(first_names({.address = {}, .sort = "age", .filters = {}}), "a-1 a-2 ");
  EXPECT_EQ(first_names({.address = {}, .sort = "user", .filters = {}}), "a-2 a-1 ");
  EXPECT_EQ(first_names({.address = {}, .sort = "worker", .filters = {}}), "a-2 a-1 ");
}

TEST(SessionsText, IsFiltered) {
  const auto filtered = [](std::string key, std::string pattern) {
    return first_names({.address = {}, .filters = {{std::move(key), std::move(pattern)}}});
  };
  EXPECT_EQ(filtered("client", "10.1.2.*"), "a-1 a-2 ");
  EXPECT_EQ(filtered("client", "10.1.2.4*"), "a-2 ");
  EXPECT_EQ(filtered("tls", "TLSv1.3/*"), "a-1 ");
  EXPECT_EQ(filtered("state", "negotiate"), "a-2 ");
  EXPECT_EQ(filtered("user", "bill"), "");
}

TEST(SessionsText, IsEmptyForOtherPages) {
  EXPECT_EQ(sessions_text("not JSON", {}), "");
  EXPECT_EQ(sessions_text("{}", {}), "");
  EXPECT_EQ(sessions_text(R"({"sessions": [{}]})", {}), "");
}

TEST(CommandLine, ReadsAQueryForSessions) {
  const auto query = understood({"sessions", "--admin", "127.0.0.1:9187", "--sort", "user", "--filter",
                                 "user=a=b", "--filter", "state=idle", "--json"})
                         .sessions;
  EXPECT_EQ(query.address.text(), "127.0.0.1:9187");
  EXPECT_EQ(query.sort, "user");
  ASSERT_EQ(query.filters.size(), 2U);
  EXPECT_EQ(query.filters[0].key, "user");
  EXPECT_EQ(query.filters[0].pattern, "a=b");
  EXPECT_TRUE(query.as_json);
}

TEST(CommandLine, ReadsASessionToTerminate) {
  const auto termination = understood({"terminate", "7f3a-2b", "--admin", "127.0.0.1:9187"}).termination;
  EXPECT_EQ(termination.session, "7f3a-2b");
  EXPECT_EQ(termination.address.text(), "127.0.0.1:9187");
}

}  // namespace
}  // namespace pgveil::proxy
