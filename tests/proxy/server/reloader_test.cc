#include "proxy/server/reloader.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/certificates.h"

namespace pgveil::proxy {
namespace {

constexpr const char* kReloadedConfig =
    "[[listener]]\naddress = \"127.0.0.1:0\"\nupstream = \"a\"\n[upstream.a]\nhost = \"/nonexistent\"\n";

tl::expected<ParsedConfig, ConfigReport> good_configuration() {
  return parse_config(kReloadedConfig, "pgveil.toml").value();
}
tl::expected<ParsedConfig, ConfigReport> bad_configuration(const std::string& message) {
  ConfigReport report;
  report.add_error(value_error(message, ""));
  return tl::unexpected(std::move(report));
}

class ReloaderTest : public testing::Test {
 protected:
  // Runs the loop until `count` reloads have ended, or nothing is left to do.
  void run_until(std::size_t count) {
    while (reloads_.size() < count && uv_run(loop_.get(), UV_RUN_ONCE) != 0) {
    }
  }
  // The load with this number, from 1 on, waits for go_on().
  void hold_load(int number) { held_ = number; }
  void go_on() { go_on_.set_value(); }
  ConfigSource source() {
    return [this]() -> tl::expected<ParsedConfig, ConfigReport> {
      const int number = ++loads_;
      if (number == held_) may_go_on_.wait();
      return read_ ? read_(number) : good_configuration();
    };
  }

  test::TemporaryFolder folder_;
  Loop loop_;
  std::atomic<int> loads_{0};
  std::atomic<int> held_{0};
  std::promise<void> go_on_;
  const std::shared_future<void> may_go_on_ = go_on_.get_future().share();
  std::function<tl::expected<ParsedConfig, ConfigReport>(int number)> read_;  // runs in a thread of the pool
  std::vector<Reload> reloads_;
  std::function<void()> on_reload_ = [] {};
  Reloader reloader_{loop_.get(), source(), {}, [this](Reload reload) {
                       reloads_.push_back(std::move(reload));
                       on_reload_();
                     }};
};

TEST_F(ReloaderTest, LoadsASnapshot) {
  reloader_.request("SIGHUP", ReloadIf::always);
  EXPECT_TRUE(reloader_.is_busy());
  run_until(1);
  ASSERT_EQ(reloads_.size(), 1U);
  EXPECT_EQ(reloads_[0].trigger, "SIGHUP");
  ASSERT_TRUE(reloads_[0].loaded.has_value());
  EXPECT_EQ((*reloads_[0].loaded)->listeners.size(), 1U);
  EXPECT_FALSE(reloader_.is_busy());
}

TEST_F(ReloaderTest, TriesAgainBeforeItReportsAnError) {
  read_ = [](int number) {
    return number < 3 ? bad_configuration("certificate and key do not match") : good_configuration();
  };
  reloader_.request("SIGHUP", ReloadIf::always);
  run_until(1);
  ASSERT_EQ(reloads_.size(), 1U);
  EXPECT_TRUE(reloads_[0].loaded.has_value());
  EXPECT_EQ(loads_, 3);
}

TEST_F(ReloaderTest, ReportsAnErrorThatStays) {
  read_ = [](int number) { return bad_configuration("attempt " + std::to_string(number)); };
  reloader_.request("SIGHUP", ReloadIf::always);
  run_until(1);
  ASSERT_EQ(reloads_.size(), 1U);
  ASSERT_FALSE(reloads_[0].loaded.has_value());
  EXPECT_EQ(reloads_[0].loaded.error().errors().at(0).message, "attempt 3");
}

TEST_F(ReloaderTest, ReportsAnExceptionAsAnError) {
  read_ = [](int) -> tl::expected<ParsedConfig, ConfigReport> { throw std::runtime_error("no memory"); };
  reloader_.request("SIGHUP", ReloadIf::always);
  run_until(1);
  ASSERT_EQ(reloads_.size(), 1U);
  EXPECT_EQ(reloads_[0].loaded.error().errors().at(0).message, "no memory");
}

TEST_F(ReloaderTest, ReportsTheErrorsOfPreparation) {
  read_ = [](int) {
    auto parsed = good_configuration();
    parsed->config.listeners[0].hba.text = "nonsense";
    return parsed;
  };
  reloader_.request("SIGHUP", ReloadIf::always);
  run_until(1);
  EXPECT_FALSE(reloads_.at(0).loaded.has_value());
}

class ReloaderForgets : public ReloaderTest, public testing::WithParamInterface<bool> {};

// A reload turns the watch off, and the change before that was noticed while it loaded.
TEST_P(ReloaderForgets, ChangesThatNobodyWatchesAnyMore) {
  const std::string rules = folder_.write("hba", "local all all trust\n");
  hold_load(2);
  read_ = [rules](int) {
    auto parsed = good_configuration();
    parsed->config.listeners[0].hba.file = rules;
    return parsed;
  };
  reloader_.request("first", ReloadIf::always);
  run_until(1);
  reloader_.request("second", ReloadIf::always);
  reloader_.request("file_watch", ReloadIf::changed);
  on_reload_ = [&] {
    folder_.write("hba", "local all orders trust\n");
    if (GetParam()) reloader_.forget_changes();
  };
  go_on();
  run_until(3);
  EXPECT_EQ(reloads_.size(), GetParam() ? 2U : 3U);
}
INSTANTIATE_TEST_SUITE_P(Or, ReloaderForgets, testing::Bool(),
                         [](const auto& test) { return test.param ? "Forgets" : "DoesNotForget"; });

TEST_F(ReloaderTest, LoadsOnceMoreIfItIsAskedWhileItLoads) {
  hold_load(1);
  reloader_.request("first", ReloadIf::always);
  for (const char* trigger : {"second", "third"}) reloader_.request(trigger, ReloadIf::always);
  go_on();
  run_until(2);
  ASSERT_EQ(reloads_.size(), 2U);
  EXPECT_EQ(reloads_[0].trigger, "first");
  EXPECT_EQ(reloads_[1].trigger, "third");
  EXPECT_EQ(uv_run(loop_.get(), UV_RUN_DEFAULT), 0);
  EXPECT_EQ(loads_, 2);
}

// Who has sent SIGHUP finds its end in the log.
TEST_F(ReloaderTest, KeepsTheTriggerOfARequestWhenAFileChangesAfterIt) {
  hold_load(1);
  reloader_.request("first", ReloadIf::always);
  reloader_.request("SIGHUP", ReloadIf::always);
  reloader_.request("file_watch", ReloadIf::changed);
  go_on();
  run_until(2);
  ASSERT_EQ(reloads_.size(), 2U);
  EXPECT_EQ(reloads_[1].trigger, "SIGHUP");
}

class ReloaderRequest : public ReloaderTest, public testing::WithParamInterface<ReloadIf> {};

// A service manager that was told of the reload waits for its end.
TEST_P(ReloaderRequest, IsAnotherReloadOnlyIfItLoadsInAnyCase) {
  hold_load(1);
  reloader_.request("first", ReloadIf::always);
  reloader_.request("second", GetParam());
  std::vector<bool> is_another_requested;
  on_reload_ = [&] { is_another_requested.push_back(reloader_.is_another_requested()); };
  go_on();
  EXPECT_EQ(uv_run(loop_.get(), UV_RUN_DEFAULT), 0);
  EXPECT_EQ(is_another_requested,
            GetParam() == ReloadIf::always ? std::vector({true, false}) : std::vector({false}));
}
INSTANTIATE_TEST_SUITE_P(When, ReloaderRequest, testing::Values(ReloadIf::always, ReloadIf::changed),
                         [](const auto& test) {
                           return test.param == ReloadIf::always ? "Always" : "Changed";
                         });

TEST_F(ReloaderTest, DoesNotReportAnErrorIfANewerRequestSucceeds) {
  hold_load(1);
  read_ = [](int number) { return number == 1 ? bad_configuration("half written") : good_configuration(); };
  reloader_.request("first", ReloadIf::always);
  reloader_.request("second", ReloadIf::always);
  go_on();
  run_until(1);
  ASSERT_EQ(reloads_.size(), 1U);
  EXPECT_TRUE(reloads_[0].loaded.has_value());
  EXPECT_EQ(reloads_[0].trigger, "second");
}

TEST_F(ReloaderTest, DoesNothingIfNoFileHasChanged) {
  reloader_.request("file_watch", ReloadIf::changed);
  EXPECT_EQ(uv_run(loop_.get(), UV_RUN_DEFAULT), 0);
  EXPECT_EQ(loads_, 0);
  EXPECT_TRUE(reloads_.empty());
  reloader_.request("SIGHUP", ReloadIf::always);
  run_until(1);
  EXPECT_EQ(loads_, 1);
}

TEST_F(ReloaderTest, KnowsTheFilesOfTheLastReload) {
  const std::string rules = folder_.write("hba", "local all all trust\n");
  read_ = [&](int) {
    auto parsed = good_configuration();
    parsed->config.listeners[0].hba.file = rules;
    return parsed;
  };
  reloader_.request("SIGHUP", ReloadIf::always);
  run_until(1);
  EXPECT_TRUE(reloads_.at(0).files.contains(rules));
  reloader_.request("file_watch", ReloadIf::changed);
  EXPECT_EQ(uv_run(loop_.get(), UV_RUN_DEFAULT), 0);
  EXPECT_EQ(loads_, 1);
  static_cast<void>(folder_.write("hba", "local all all reject\n"));
  reloader_.request("file_watch", ReloadIf::changed);
  run_until(2);
  EXPECT_EQ(loads_, 2);
}

// The error is not reported again, until a file has changed once more.
TEST_F(ReloaderTest, ReportsAFileWithAnErrorOnce) {
  const std::string rules = folder_.write("hba", "local all all trust\n");
  read_ = [&](int) {
    auto parsed = good_configuration();
    parsed->config.listeners[0].hba.file = rules;
    return parsed;
  };
  reloader_.request("SIGHUP", ReloadIf::always);
  run_until(1);
  static_cast<void>(folder_.write("hba", "nonsense\n"));
  reloader_.request("file_watch", ReloadIf::changed);
  run_until(2);
  EXPECT_FALSE(reloads_.at(1).loaded.has_value());
  EXPECT_EQ(loads_, 4);
  reloader_.request("file_watch", ReloadIf::changed);
  EXPECT_EQ(uv_run(loop_.get(), UV_RUN_DEFAULT), 0);
  EXPECT_EQ(loads_, 4);
  static_cast<void>(folder_.write("hba", "local all all trust\n"));
  reloader_.request("file_watch", ReloadIf::changed);
  run_until(3);
  EXPECT_TRUE(reloads_.at(2).loaded.has_value());
}

TEST_F(ReloaderTest, ReportsAnErrorAlsoIfFilesChangeAllTheTime) {
  const std::string rules = folder_.write("hba", "local all all trust\n");
  read_ = [&](int number) {
    static_cast<void>(folder_.write("hba", "nonsense " + std::to_string(number)));
    auto parsed = good_configuration();
    parsed->config.listeners[0].hba.file = rules;
    return parsed;
  };
  reloader_.request("SIGHUP", ReloadIf::always);
  while (reloads_.empty() && uv_run(loop_.get(), UV_RUN_ONCE) != 0)
    reloader_.request("file_watch", ReloadIf::changed);
  ASSERT_EQ(reloads_.size(), 1U);
  EXPECT_FALSE(reloads_[0].loaded.has_value());
  EXPECT_EQ(reloads_[0].trigger, "SIGHUP");
  reloader_.stop();
  EXPECT_EQ(uv_run(loop_.get(), UV_RUN_DEFAULT), 0);
}

TEST_F(ReloaderTest, LoadsAgainAFileThatChangedWhileItWasRead) {
  const std::string rules = folder_.write("hba", "local all all trust\n");
  const auto with_rules = [&] {
    auto parsed = good_configuration();
    parsed->config.listeners[0].hba.file = rules;
    return parsed;
  };
  read_ = [&](int number) {
    auto parsed = with_rules();
    if (number == 2) static_cast<void>(folder_.write("hba", "local all all reject\n"));
    return parsed;
  };
  reloader_.request("first", ReloadIf::always);
  run_until(1);
  reloader_.request("second", ReloadIf::always);
  run_until(3);
  EXPECT_EQ(uv_run(loop_.get(), UV_RUN_DEFAULT), 0);
  EXPECT_EQ(loads_, 3);
}

// Otherwise a service manager would wait as long as the file changes.
TEST_F(ReloaderTest, HasCompletedARequestAlthoughAFileChangesAgainAndAgain) {
  const std::string rules = folder_.write("hba", "local all all trust\n");
  read_ = [&](int number) {
    if (number > 1 && number < 5)
      static_cast<void>(folder_.write("hba", "local all all trust # " + std::to_string(number)));
    auto parsed = good_configuration();
    parsed->config.listeners[0].hba.file = rules;
    return parsed;
  };
  reloader_.request("first", ReloadIf::always);
  run_until(1);
  reloader_.request("second", ReloadIf::always);
  std::vector<bool> is_another_requested;
  on_reload_ = [&] { is_another_requested.push_back(reloader_.is_another_requested()); };
  EXPECT_EQ(uv_run(loop_.get(), UV_RUN_DEFAULT), 0);
  EXPECT_EQ(is_another_requested, std::vector({false, false, false, false}));
}

TEST_F(ReloaderTest, ReportsNothingAfterItWasStopped) {
  hold_load(1);
  reloader_.request("SIGHUP", ReloadIf::always);
  reloader_.stop();
  go_on();
  run_until(1);
  EXPECT_TRUE(reloads_.empty());
  EXPECT_FALSE(reloader_.is_busy());
}

}  // namespace
}  // namespace pgveil::proxy
