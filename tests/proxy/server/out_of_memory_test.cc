// The sessions of a worker while allocations fail.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <string>
#include <string_view>

#include "proxy/server/worker_pool.h"
#include "tests/support/failing_memory.h"
#include "tests/support/snapshot_of.h"

namespace pgveil::proxy {
namespace {

constexpr const char* kConfig =
    "[[listener]]\naddress = \"127.0.0.1:0\"\nupstream = \"a\"\nhba = \"local all all relay\"\n"
    "max_sessions_per_user = 5\nsession_lifetime = \"1h\"\n"
    "[upstream.a]\nhost = \"/nonexistent\"\n";

class WithoutMemory : public testing::Test {
 protected:
  ~WithoutMemory() override { test::fail_workers_no_more(); }

  // Returns the bytes that a client receives after it has sent a StartupMessage.
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
    workers_.assign(Descriptor(ends[0]), peer, {snapshot_, 0}, "a listener", workers_.new_usage());
    std::string text;
    std::array<char, 4096> piece{};
    for (;;) {
      const ssize_t size = ::recv(client.get(), piece.data(), piece.size(), 0);
      if (size > 0) text.append(piece.data(), static_cast<std::size_t>(size));
      if (size <= 0) return text;
    }
  }

  Loop loop_;
  std::shared_ptr<const Snapshot> snapshot_ = test::snapshot_of(kConfig);
  WorkerPool workers_{loop_.get(), snapshot_, 1};
};

TEST_F(WithoutMemory, ASessionIsClosedAndTheNextOneIsServed) {
  test::fail_workers(0, test::Failing::from_then_on);
  const std::string refused = answer();
  test::fail_workers_no_more();
  EXPECT_EQ(refused.find("C57P03"), std::string::npos);
  EXPECT_NE(answer().find("C57P03"), std::string::npos);
}

// For each allocation of a session: it fails alone, or together with all later ones.
TEST_F(WithoutMemory, NothingButTheSessionEnds) {
  constexpr int kMoreThanASessionMakes = 150;
  for (const bool once : {true, false}) {
    int told = 0;
    for (int allocations = 0; allocations < kMoreThanASessionMakes; ++allocations) {
      test::fail_workers(allocations, once ? test::Failing::once : test::Failing::from_then_on);
      told += answer().find("C53200") != std::string::npos ? 1 : 0;
      test::fail_workers_no_more();
      ASSERT_NE(answer().find("C57P03"), std::string::npos) << "after " << allocations;
    }
    EXPECT_EQ(told > 0, once);  // otherwise there is no memory for the message
  }
}

}  // namespace
}  // namespace pgveil::proxy
