#include "proxy/snapshot/snapshot.h"

#include <gtest/gtest.h>

namespace pgveil::proxy {
namespace {

ParsedConfig parsed(const std::string& upstreams) {
  auto config =
      parse_config("[[listener]]\naddress = \"127.0.0.1:0\"\nupstream = \"a\"\n" + upstreams, "pgveil.toml");
  if (config) return *std::move(config);
  for (const auto& error : config.error()) ADD_FAILURE() << error.text();
  return {};
}

TEST(Snapshot, HoldsAContextForAnUpstreamWithTls) {
  const auto snapshot = build_snapshot(parsed("[upstream.a]\nhost = \"db01\"\nsslrootcert = \"system\"\n"));
  ASSERT_TRUE(snapshot.has_value());
  EXPECT_NE((*snapshot)->upstreams.at("a")->tls, nullptr);
  EXPECT_EQ((*snapshot)->listeners[0].upstream->config.hosts[0].host, "db01");
}

TEST(Snapshot, HoldsNoContextForUnixSocketsOnly) {
  const auto snapshot = build_snapshot(parsed("[upstream.a]\nhost = \"/run/postgresql\"\n"));
  ASSERT_TRUE(snapshot.has_value());
  EXPECT_EQ((*snapshot)->upstreams.at("a")->tls, nullptr);
}

TEST(Snapshot, HoldsNoContextWithSslmodeDisable) {
  const auto snapshot = build_snapshot(parsed("[upstream.a]\nhost = \"::1\"\nsslmode = \"disable\"\n"));
  ASSERT_TRUE(snapshot.has_value());
  EXPECT_EQ((*snapshot)->upstreams.at("a")->tls, nullptr);
}

TEST(Snapshot, NamesEveryFileThatCannotBeLoadedWhereItStands) {
  const auto snapshot =
      build_snapshot(parsed("[upstream.a]\nhost = \"db01\"\nsslrootcert = \"/nonexistent/a.crt\"\n"
                            "[upstream.b]\nhost = \"db02\"\nsslrootcert = \"/nonexistent/b.crt\"\n"));
  ASSERT_FALSE(snapshot.has_value());
  const ConfigErrors errors = snapshot.error().errors();
  ASSERT_EQ(errors.size(), 2U);
  for (const auto& [error, name, line] : {std::tuple{errors[0], 'a', 6}, {errors[1], 'b', 9}}) {
    EXPECT_EQ(error.file, "pgveil.toml");
    EXPECT_EQ(error.line, line);
    EXPECT_EQ(error.key, std::string("upstream.") + name + ".sslrootcert");
    EXPECT_PRED_FORMAT2(testing::IsSubstring, std::string("/nonexistent/") + name + ".crt", error.text());
  }
}

TEST(Snapshot, ReportsErrorsOfTheRulesAndOfTheUsersTogether) {
  auto config = parsed(
      "auth_file = \"/nonexistent/users\"\nhba = \"host all all all nonsense\"\n"
      "[upstream.a]\nhost = \"/run/postgresql\"\n");
  const auto snapshot = build_snapshot(config);
  ASSERT_FALSE(snapshot.has_value());
  const ConfigErrors errors = snapshot.error().errors();
  ASSERT_EQ(errors.size(), 2U);
  EXPECT_EQ(errors[0].key, "listener[0].auth_file");
  EXPECT_EQ(errors[1].key, "listener[0].hba");
}

TEST(Snapshot, OfAListenerWithoutUpstreamIsNotBuilt) {
  auto config = parsed("[upstream.a]\nhost = \"/run/postgresql\"\n");
  config.config.listeners[0].upstream = "b";
  const auto snapshot = build_snapshot(config);
  ASSERT_FALSE(snapshot.has_value());
  const ConfigErrors errors = snapshot.error().errors();
  ASSERT_EQ(errors.size(), 1U);
  EXPECT_EQ(
      errors[0].text(),
      "pgveil.toml:3: listener[0].upstream: upstream \"b\" does not exist. Use the NAME of an [upstream.NAME].");
}

TEST(Snapshot, HoldsNoPassphrase) {
  auto config = parsed("[upstream.a]\nhost = \"/run/postgresql\"\n");
  config.config.upstreams.at("a").tls.sslpassword = "open sesame";
  const auto snapshot = build_snapshot(config);
  ASSERT_TRUE(snapshot.has_value());
  EXPECT_EQ((*snapshot)->upstreams.at("a")->config.tls.sslpassword, "");
}

}  // namespace
}  // namespace pgveil::proxy
