#include "proxy/session/startup_parameters.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace pgveil::proxy {
namespace {

using Parameters = std::vector<std::pair<std::string, std::string>>;

protocol::StartupMessage startup(Parameters parameters) {
  parameters.insert(parameters.begin(), {"user", "ann"});
  return {.version = protocol::kProtocol30, .parameters = std::move(parameters)};
}

Parameters with_parameters(const ListenerConfig& listener, Parameters parameters) {
  auto message = startup(std::move(parameters));
  set_database(message, listener);
  set_parameters(message, listener);
  return {message.parameters.begin() + 1, message.parameters.end()};
}

TEST(StartupParameters, StayAsTheyAreWithoutSettings) {
  const Parameters sent{{"options", "-c a=b"}, {"Application_Name", "x"}};
  EXPECT_EQ(with_parameters({}, sent), sent);
}

TEST(StartupParameters, ThatAreFixedReplaceTheClients) {
  ListenerConfig listener;
  listener.database.fixed = "ledger";
  listener.options.fixed = "-c work_mem=1MB";
  listener.application_name.fixed = "shop";
  EXPECT_EQ(
      with_parameters(listener, {{"database", "other"}, {"options", "-c a=b"}}),
      (Parameters{{"database", "ledger"}, {"options", "-c work_mem=1MB"}, {"application_name", "shop"}}));
}

TEST(StartupParameters, ThatAreFixedReplaceEverySpelling) {
  ListenerConfig listener;
  listener.application_name.fixed = "shop";
  EXPECT_EQ(with_parameters(listener, {{"application_name", "a"}, {"APPLICATION_NAME", "b"}}),
            (Parameters{{"application_name", "shop"}}));
}

TEST(StartupParameters, ThatHaveADefaultAreTheClientsIfItSendsThem) {
  ListenerConfig listener;
  listener.database.fallback = "ledger";
  listener.options.fallback = "-c work_mem=1MB";
  listener.application_name.fallback = "shop";
  const Parameters sent{{"database", "other"}, {"options", "-c a=b"}, {"Application_Name", "mine"}};
  EXPECT_EQ(with_parameters(listener, sent), sent);
  EXPECT_EQ(
      with_parameters(listener, {{"database", ""}}),
      (Parameters{{"database", "ledger"}, {"options", "-c work_mem=1MB"}, {"application_name", "shop"}}));
}

class HarmlessParameter : public testing::TestWithParam<const char*> {};
TEST_P(HarmlessParameter, MayBeSent) {
  EXPECT_FALSE(refuse_parameter(startup({{GetParam(), "x"}}), ListenerConfig()).has_value());
}
INSTANTIATE_TEST_SUITE_P(StartupParameters, HarmlessParameter,
                         testing::Values("database", "application_name", "APPLICATION_NAME", "datestyle",
                                         "client_encoding", "replication", "_pq_.command_tag"));

class OtherParameter : public testing::TestWithParam<const char*> {};
TEST_P(OtherParameter, IsNamedInTheRefusal) {
  const auto refusal =
      refuse_parameter(startup({{"client_encoding", "UTF8"}, {GetParam(), "x"}}), ListenerConfig());
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->reason, Reason::parameter_not_allowed);
  EXPECT_EQ(refusal->message, std::string("startup parameter \"") + GetParam() + "\" is not allowed here");
}
INSTANTIATE_TEST_SUITE_P(StartupParameters, OtherParameter,
                         testing::Values("options", "Options", "search_path", "role", "session_authorization",
                                         "USER", "Database", "my.setting", "local_preload_libraries", ""));

TEST(AllowedParameters, AreTheOperatorsToName) {
  ListenerConfig listener;
  listener.allowed_startup_parameters = {"Search_Path"};
  EXPECT_FALSE(refuse_parameter(startup({{"search_path", "x"}}), listener).has_value());
  EXPECT_TRUE(refuse_parameter(startup({{"application_name", "x"}}), listener).has_value());
}

TEST(AllowedParameters, DoNotConcernWhatIsFixedAnyway) {
  ListenerConfig listener;
  listener.options.fixed = "-c a=b";
  EXPECT_FALSE(refuse_parameter(startup({{"options", "x"}}), listener).has_value());
}

}  // namespace
}  // namespace pgveil::proxy
