#include "proxy/session/cancel_routes.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace pgveil::proxy {
namespace {

protocol::CancelRequest key_of(std::uint32_t process_id, std::uint8_t key) {
  return {.process_id = process_id, .key = {key, 2, 3, 4}};
}

std::shared_ptr<const Upstream> upstream(const std::string& name) {
  Upstream made;
  made.config.name = name;
  return std::make_shared<const Upstream>(std::move(made));
}

TEST(CancelRoutes, LeadToTheUpstreamOfTheKey) {
  CancelRoutes routes;
  routes.add(key_of(1, 7), {.upstream = upstream("a"), .server = {}});
  routes.add(key_of(1, 8), {.upstream = upstream("b"), .server = {}});
  ASSERT_TRUE(routes.find(key_of(1, 8)));
  EXPECT_EQ(routes.find(key_of(1, 8))->upstream->config.name, "b");
  EXPECT_FALSE(routes.find(key_of(2, 8)));
}

TEST(CancelRoutes, KeepTheirUpstream) {
  CancelRoutes routes;
  std::weak_ptr<const Upstream> seen;
  {
    auto of_session = upstream("a");
    seen = of_session;
    routes.add(key_of(1, 7), {.upstream = std::move(of_session), .server = {}});
  }
  EXPECT_EQ(routes.find(key_of(1, 7))->upstream->config.name, "a");
  routes.remove(key_of(1, 7));
  EXPECT_TRUE(seen.expired());
}

TEST(CancelRoutes, EndWithTheirSession) {
  CancelRoutes routes;
  routes.add(key_of(1, 7), {.upstream = upstream("a"), .server = {}});
  routes.remove(key_of(1, 7));
  EXPECT_FALSE(routes.find(key_of(1, 7)));
  routes.remove(key_of(1, 7));  // has no effect and does not fail
}

TEST(CancelRoutes, MayBeAddedFoundAndRemovedByThreadsAtOnce) {
  CancelRoutes routes;
  std::atomic<int> lost{0};
  std::vector<std::thread> threads;
  for (std::uint32_t thread = 0; thread < 4; ++thread)
    threads.emplace_back([&routes, &lost, thread] {
      for (int round = 0; round < 2'000; ++round) {
        const auto key = key_of(thread, static_cast<std::uint8_t>(round));
        routes.add(key, {.upstream = upstream(std::to_string(thread)), .server = {}});
        const auto route = routes.find(key);
        if (!route || route->upstream->config.name != std::to_string(thread)) ++lost;
        if (routes.find(key_of(thread + 100, 0))) ++lost;
        routes.remove(key);
        if (routes.find(key)) ++lost;
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(lost, 0);
}

}  // namespace
}  // namespace pgveil::proxy
