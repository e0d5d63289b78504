#include "proxy/commands/check.h"

#include <gtest/gtest.h>

#include "proxy/commands/command_line.h"

namespace pgveil::proxy {
namespace {

ParsedConfig parsed(const std::string& toml) {
  auto config = parse_config(toml, "pgveil.toml");
  if (config) return *std::move(config);
  for (const auto& error : config.error()) ADD_FAILURE() << error.text();
  return {};
}

TEST(Check, SaysWhereEachListenerLeadsAndHowItIsProtected) {
  const auto config = parsed(R"(
[[listener]]
address = "127.0.0.1:5432"
upstream = "primary"
[[listener]]
address = "unix:/tmp/.s.PGSQL.5433"
upstream = "local"
[upstream.primary]
host = "db01.example.com,::1"
hostaddr = "192.0.2.1,"
port = 6432
sslrootcert = "system"
ssl_max_protocol_version = "TLSv1.3"
sslnegotiation = "direct"
[upstream.local]
host = "/run/postgresql"
)");
  testing::internal::CaptureStdout();
  const int exit_code = run_check(config);
  EXPECT_EQ(
      testing::internal::GetCapturedStdout(),
      "listener 127.0.0.1:5432: plaintext, to upstream primary\n"
      "  rules, built in:\n"
      "    host all all all relay\n"
      "    host replication all all relay\n"
      "  logins by relay, clients without TLS: The server asks the client: by SCRAM without channel binding, "
      "MD5 or a password.\n"
      "    channel_binding=require fails: without TLS there is no channel to bind.\n"
      "listener unix:/tmp/.s.PGSQL.5433: plaintext, to upstream local\n"
      "  rules, built in:\n"
      "    local all all relay\n"
      "    local replication all relay\n"
      "  logins by relay, clients without TLS: The server asks the client: by SCRAM without channel binding, "
      "MD5 or a password.\n"
      "    channel_binding=require fails: without TLS there is no channel to bind.\n"
      "upstream local: unix:/run/postgresql/.s.PGSQL.5432; no TLS\n"
      "upstream primary: db01.example.com:6432 (192.0.2.1), [::1]:6432; TLS verify-full, TLSv1.2 to TLSv1.3, "
      "direct; trusts the system's CAs\n"
      "No errors found.\n");
  EXPECT_EQ(exit_code, kExitOk);
}

TEST(Check, ShowsTheAddressOfAHostWithoutName) {
  const auto config = parsed(
      "[[listener]]\naddress = \"127.0.0.1:0\"\nupstream = \"a\"\n"
      "[upstream.a]\nhostaddr = \"127.0.0.1\"\nsslmode = \"disable\"\n");
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "upstream a: 127.0.0.1:5432; no TLS\n",
                      summary_of(**build_snapshot(config)));
}

TEST(Check, PrintsWhatCannotBeLoadedAndAnswersExConfig) {
  const auto config = parsed(
      "[[listener]]\naddress = \"127.0.0.1:0\"\nupstream = \"a\"\n"
      "[upstream.a]\nhost = \"db01\"\nsslrootcert = \"/nonexistent/root.crt\"\n");
  testing::internal::CaptureStderr();
  const int exit_code = run_check(config);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "error: pgveil.toml:6: upstream.a.sslrootcert: ",
                      testing::internal::GetCapturedStderr());
  EXPECT_EQ(exit_code, kExitConfig);
}

}  // namespace
}  // namespace pgveil::proxy
