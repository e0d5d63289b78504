#include "proxy/credentials/scram_key_cache.h"

#include <gtest/gtest.h>

#include <optional>
#include <thread>

#include "proxy/credentials/scram_hash.h"

namespace pgveil::proxy {
namespace {

using protocol::ScramSalting;
using protocol::SecretText;

const ScramSalting kSalting{.iterations = 4096, .salt = {1, 2, 3, 4}};

struct Counter final : Wakeable {
  void wake() override { ++times; }
  int times = 0;
};

class KeyCache : public testing::Test {
 protected:
  KeyCache() { uv_loop_init(&loop_); }
  ~KeyCache() override {
    key_cache_.reset();
    run();
    EXPECT_EQ(uv_loop_close(&loop_), 0);
  }
  void run() { uv_run(&loop_, UV_RUN_DEFAULT); }

  uv_loop_t loop_{};
  std::optional<ScramKeyCache> key_cache_{std::in_place, &loop_, 2};
  Counter waiter_;
};

bool are_those_of(const protocol::ScramKeys& keys, std::string_view password, const ScramSalting& salting) {
  const auto right = protocol::keys_of(salted_password(password, salting), scram_hash());
  return scram_hash().equal(keys.client_key.view(), right.client_key.view()) &&
         scram_hash().equal(keys.server_key.view(), right.server_key.view());
}

TEST_F(KeyCache, ComputesOffTheLoopAndWakes) {
  const auto request = key_cache_->request(SecretText("sesame"), kSalting, waiter_);
  EXPECT_EQ(request->keys(), nullptr);
  run();
  EXPECT_EQ(waiter_.times, 1);
  ASSERT_NE(request->keys(), nullptr);
  EXPECT_TRUE(are_those_of(*request->keys(), "sesame", kSalting));
}

TEST_F(KeyCache, ComputesOnceForAllWhoAskTogether) {
  const auto first = key_cache_->request(SecretText("sesame"), kSalting, waiter_);
  const auto second = key_cache_->request(SecretText("sesame"), kSalting, waiter_);
  run();
  EXPECT_EQ(waiter_.times, 2);
  EXPECT_EQ(key_cache_->computations(), 1U);
  EXPECT_NE(second->keys(), nullptr);
}

// What makes a login with a held password cheap: no PBKDF2 after the first.
TEST_F(KeyCache, ComputesNothingForTheNextLogin) {
  static_cast<void>(key_cache_->request(SecretText("sesame"), kSalting, waiter_));
  run();
  for (int login = 0; login < 10; ++login)
    EXPECT_NE(key_cache_->request(SecretText("sesame"), kSalting, waiter_)->keys(), nullptr);
  EXPECT_EQ(key_cache_->computations(), 1U);
}

TEST_F(KeyCache, TellsPasswordsSaltsAndIterationsApart) {
  const ScramSalting other_salt{.iterations = 4096, .salt = {1, 2, 3, 5}};
  const ScramSalting other_count{.iterations = 4097, .salt = {1, 2, 3, 4}};
  for (const auto& [password, salting] : {std::pair{"sesame", kSalting},
                                          {"Sesame", kSalting},
                                          {"sesame", other_salt},
                                          {"sesame", other_count}}) {
    const auto request = key_cache_->request(SecretText(password), salting, waiter_);
    run();
    ASSERT_NE(request->keys(), nullptr);
    EXPECT_TRUE(are_those_of(*request->keys(), password, salting));
  }
  EXPECT_EQ(key_cache_->computations(), 4U);
}

TEST_F(KeyCache, ForgetsTheOldest) {
  for (const char* password : {"a", "b", "c", "b", "a"}) {
    static_cast<void>(key_cache_->request(SecretText(password), kSalting, waiter_));
    run();
  }
  EXPECT_EQ(key_cache_->computations(), 4U);
}

TEST_F(KeyCache, WakesNobodyWhoHasGone) {
  key_cache_->request(SecretText("sesame"), kSalting, waiter_).reset();
  run();
  EXPECT_EQ(waiter_.times, 0);
}

TEST_F(KeyCache, MayGoBeforeItsComputations) {
  const auto request = key_cache_->request(SecretText("sesame"), kSalting, waiter_);
  key_cache_.reset();
  run();
  EXPECT_NE(request->keys(), nullptr);
}

}  // namespace
}  // namespace pgveil::proxy
