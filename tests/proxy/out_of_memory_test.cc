// What happens to the sessions of a worker while the system has no memory. This file replaces operator new
// for the whole test program; it fails only for a worker's thread, and only while a test wants it to.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "proxy/workers.h"
#include "tests/proxy/failing_memory.h"

namespace {

constexpr int kNever = -1;
std::atomic<int> left_until_failure{kNever};  // allocations of a worker's thread
std::atomic<bool> fails_once{false};          // instead of from then on
thread_local int own_left = kNever;           // of FailingAllocation

bool fails_now() {
  if (own_left != kNever && own_left-- == 0) return true;  // and is kNever then
  if (left_until_failure == kNever) return false;
  std::array<char, 16> name{};
  ::pthread_getname_np(::pthread_self(), name.data(), name.size());
  if (!std::string_view(name.data()).starts_with("worker-")) return false;
  int left = left_until_failure;
  while (left > 0 && !left_until_failure.compare_exchange_weak(left, left - 1)) {
  }
  if (left != 0) return false;
  if (fails_once) left_until_failure = kNever;
  return true;
}

}  // namespace

void* operator new(std::size_t size) {
  void* memory = fails_now() ? nullptr : std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void* operator new(std::size_t size, const std::nothrow_t& /*tag*/) noexcept {
  return fails_now() ? nullptr : std::malloc(size == 0 ? 1 : size);
}

void operator delete(void* memory) noexcept {
  std::free(memory);
}

void operator delete(void* memory, std::size_t /*size*/) noexcept {
  std::free(memory);
}

namespace pgveil::test {

FailingAllocation::FailingAllocation(int allocations) {
  own_left = allocations;
}

FailingAllocation::~FailingAllocation() {
  own_left = kNever;
}

bool FailingAllocation::has_failed() {
  return own_left == kNever;
}

SafeAllocations::SafeAllocations() : left_(std::exchange(own_left, kNever)) {}

SafeAllocations::~SafeAllocations() {
  own_left = left_;
}

}  // namespace pgveil::test

namespace pgveil::proxy {
namespace {

std::shared_ptr<const Snapshot> snapshot() {
  const auto parsed = parse_config(
      "[[listener]]\naddress = \"127.0.0.1:0\"\nupstream = \"a\"\nhba = \"local all all "
      "relay\"\n[upstream.a]\nhost = \"/nonexistent\"\n",
      "pgveil.toml");
  return *build_snapshot(*parsed);
}

class WithoutMemory : public testing::Test {
 protected:
  ~WithoutMemory() override {
    left_until_failure = kNever;
    fails_once = false;
  }

  // What a client hears that logs in.
  std::string answer() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    const Descriptor client(ends[1]);
    const std::string startup("\0\0\0\x12\0\x03\0\0user\0app\0\0", 18);
    EXPECT_EQ(::send(client.get(), startup.data(), startup.size(), 0), 18);
    KernelAddress peer;
    peer.storage.ss_family = AF_UNIX;
    peer.size = sizeof peer.storage.ss_family;
    workers_.adopt(Descriptor(ends[0]), peer, snapshot_->listeners[0], "a listener");
    std::string text;
    std::array<char, 4096> piece{};
    for (;;) {
      const ssize_t size = ::recv(client.get(), piece.data(), piece.size(), 0);
      if (size > 0) text.append(piece.data(), static_cast<std::size_t>(size));
      if (size <= 0) return text;
    }
  }

  Loop loop_;
  std::shared_ptr<const Snapshot> snapshot_ = snapshot();
  Workers workers_{loop_.get(), snapshot_, 1};
};

TEST_F(WithoutMemory, ASessionIsClosedAndTheNextOneIsServed) {
  left_until_failure = 0;
  const std::string refused = answer();
  left_until_failure = kNever;
  EXPECT_EQ(refused.find("C57P03"), std::string::npos);
  EXPECT_NE(answer().find("C57P03"), std::string::npos);
}

// Wherever it is that one allocation fails, or all that follow.
TEST_F(WithoutMemory, NothingButTheSessionEnds) {
  constexpr int kMoreThanASessionMakes = 150;
  for (const bool once : {true, false}) {
    fails_once = once;
    int told = 0;
    for (int allocations = 0; allocations < kMoreThanASessionMakes; ++allocations) {
      left_until_failure = allocations;
      told += answer().find("C53200") != std::string::npos ? 1 : 0;
      left_until_failure = kNever;
      ASSERT_NE(answer().find("C57P03"), std::string::npos) << "after " << allocations;
    }
    EXPECT_EQ(told > 0, once);  // else there is no memory for the message
  }
}

}  // namespace
}  // namespace pgveil::proxy
