// `range` rules in the format of pg_hba.conf: the time to load them, and the time to find the rule of a
// client that only the last rule matches.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <string>

#include "protocol/hba.h"
#include "tests/support/auth_files.h"

namespace {

using namespace pgveil::protocol;

std::string rules_for(std::int64_t users) {
  std::string text;
  for (std::int64_t i = 0; i < users; ++i)
    text += fmt::format("hostssl  ledger,billing  user{}  10.{}.{}.0/24  cert  map=workloads\n", i, i / 250,
                        i % 250);
  return text;
}

void BM_LoadRules(benchmark::State& state) {
  const std::string text = rules_for(state.range(0));
  const pgveil::test::FakeAuthFiles no_includes;
  for (auto _ : state) {
    AuthFileErrors errors;
    const auto lines = split_auth_file(text, "pg_hba.conf", 1, no_includes, errors);
    auto rules = HbaRules::parse(lines);
    if (!rules) return state.SkipWithError("an error in the rules");
    benchmark::DoNotOptimize(*rules);
  }
}
BENCHMARK(BM_LoadRules)->Arg(10)->Arg(1'000);

void BM_MatchTheLastRule(benchmark::State& state) {
  const std::int64_t last = state.range(0) - 1;
  AuthFileErrors errors;
  const auto lines =
      split_auth_file(rules_for(state.range(0)), "pg_hba.conf", 1, pgveil::test::FakeAuthFiles(), errors);
  const auto rules = HbaRules::parse(lines);
  const std::string user = fmt::format("user{}", last);
  HbaClient client;
  client.has_tls = true;
  client.address = *parse_ip_address(fmt::format("10.{}.{}.7", last / 250, last % 250));
  client.user = user;
  client.database = "billing";
  for (auto _ : state) {
    auto verdict = rules->match(client, {});
    if (verdict.rule == nullptr) return state.SkipWithError("no rule matches");
    benchmark::DoNotOptimize(verdict.rule);
  }
}
BENCHMARK(BM_MatchTheLastRule)->Arg(10)->Arg(1'000);

}  // namespace
