#include "proxy/server/worker_pool.h"
#include "tests/support/snapshot_of.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <set>
#include <string>
#include <thread>

namespace pgveil::proxy {
namespace {

using Loads = std::vector<std::size_t>;

constexpr const char* kConfigOfPool =
    "[[listener]]\naddress = \"127.0.0.1:0\"\nupstream = \"a\"\n[upstream.a]\nhost = \"/nonexistent\"\n";

// WorkerPool, and connected clients that send nothing.
class WorkersWithClients : public testing::Test {
 protected:
  void start(unsigned count) {
    workers_.emplace(loop_.get(), snapshot_, count);
    usage_ = workers_->new_usage();
  }

  // Returns the client's end.
  Descriptor connect() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
    KernelAddress peer;
    peer.storage.ss_family = AF_UNIX;
    peer.size = sizeof peer.storage.ss_family;
    workers_->assign(Descriptor(ends[0]), peer, {snapshot_, 0}, "a listener", usage_);
    return Descriptor(ends[1]);
  }
  std::vector<Descriptor> connect_many(int count) {
    std::vector<Descriptor> clients;
    for (int i = 0; i < count; ++i) clients.push_back(connect());
    return clients;
  }
  // Waits until the workers have noticed which clients are gone.
  void wait_for_loads(const Loads& wanted) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (workers_->loads() != wanted && std::chrono::steady_clock::now() < deadline)
      std::this_thread::yield();
    EXPECT_EQ(workers_->loads(), wanted);
  }

  Loop loop_;
  std::shared_ptr<const Snapshot> snapshot_ = test::snapshot_of(kConfigOfPool);
  std::optional<WorkerPool> workers_;
  std::shared_ptr<ListenerUsage> usage_;
};

TEST(LeastLoaded, IsTheFirstOfThoseWithTheFewest) {
  EXPECT_EQ(least_loaded(Loads{0}), 0U);
  EXPECT_EQ(least_loaded(Loads{3, 1, 2}), 1U);
  EXPECT_EQ(least_loaded(Loads{2, 1, 1}), 1U);
  EXPECT_EQ(least_loaded(Loads{5, 4, 3}), 2U);
}

TEST_F(WorkersWithClients, HaveABurstSpreadEvenly) {
  start(3);
  const auto clients = connect_many(30);
  EXPECT_EQ(workers_->loads(), (Loads{10, 10, 10}));
}

TEST_F(WorkersWithClients, HaveNewOnesGoWhereOthersHaveLeft) {
  start(3);
  auto clients = connect_many(9);
  for (const int of_second : {1, 4, 7}) clients[static_cast<std::size_t>(of_second)] = Descriptor(-1);
  wait_for_loads({3, 0, 3});
  const auto more = connect_many(3);
  EXPECT_EQ(workers_->loads(), (Loads{3, 3, 3}));
}

TEST_F(WorkersWithClients, AreEmptyAfterAShutDown) {
  start(4);
  auto clients = connect_many(8);
  bool empty = false;
  workers_->shut_down([&] {
    empty = true;
    EXPECT_EQ(workers_->abandon(), 0U);
    workers_.reset();
  });
  clients.clear();
  uv_run(loop_.get(), UV_RUN_DEFAULT);  // returns once there is no active handle
  EXPECT_TRUE(empty);
}

TEST_F(WorkersWithClients, ShutDownWithoutAnyClient) {
  start(2);
  bool empty = false;
  workers_->shut_down([&] {
    empty = true;
    workers_.reset();
  });
  uv_run(loop_.get(), UV_RUN_DEFAULT);
  EXPECT_TRUE(empty);
}

TEST_F(WorkersWithClients, CountWhomTheyAbandonAndHangUp) {
  start(3);
  const auto clients = connect_many(7);
  EXPECT_EQ(workers_->abandon(), 7U);
  for (const Descriptor& client : clients) {
    char byte = 0;
    EXPECT_EQ(::recv(client.get(), &byte, 1, 0), 0);
  }
}

// epoll refuses a file such as /dev/null. In the same way it refuses a socket if there are too many watches.
TEST_F(WorkersWithClients, HangUpOnAClientWhoseSocketCannotBeWatched) {
  start(1);
  const Descriptor file(::open("/dev/null", O_RDWR | O_CLOEXEC));
  KernelAddress peer;
  peer.storage.ss_family = AF_UNIX;
  peer.size = sizeof peer.storage.ss_family;
  workers_->assign(Descriptor(::dup(file.get())), peer, {snapshot_, 0}, "a listener", usage_);
  wait_for_loads({0});
  const auto client = connect();
  EXPECT_EQ(workers_->abandon(), 1U);
}

// Counts how often it is woken.
struct Listening final : Wakeable {
  void wake() override { ++woken; }
  int woken = 0;
};

TEST_F(WorkersWithClients, WakeTheListenersInTurnOnceThereIsRoom) {
  snapshot_ = test::snapshot_of(std::string(kConfigOfPool) + "[limits]\nmax_unauthenticated_clients = 1\n");
  start(2);
  Listening first;
  Listening second;
  Listening gone;
  EXPECT_TRUE(workers_->has_room(first, usage_));
  auto client = connect();
  for (Listening* each : {&gone, &first, &second}) EXPECT_FALSE(workers_->has_room(*each, usage_));
  workers_->forget(gone);
  client = Descriptor(-1);
  while (second.woken == 0) uv_run(loop_.get(), UV_RUN_ONCE);
  EXPECT_EQ(first.woken, 1);
  EXPECT_EQ(gone.woken, 0);
}

TEST_F(WorkersWithClients, HaveAMaximumForEachListener) {
  start(2);
  usage_->unauthenticated_clients.set_max(1);
  Listening full;
  Listening other;
  const auto client = connect();
  EXPECT_FALSE(workers_->has_room(full, usage_));
  EXPECT_TRUE(workers_->has_room(other, workers_->new_usage()));
}

TEST_F(WorkersWithClients, MakeRoomOnceTheOldestClientIsSilentForTooLong) {
  snapshot_ = test::snapshot_of(std::string(kConfigOfPool) + "[limits]\nmax_unauthenticated_clients = 2\n");
  start(1);
  Listening listening;
  const auto oldest = connect();
  const auto newer = connect();
  char byte = 0;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  EXPECT_FALSE(workers_->has_room(listening, usage_));
  while (listening.woken == 0 && std::chrono::steady_clock::now() < deadline) {
    workers_->forget(listening);
    if (workers_->has_room(listening, usage_)) break;
    uv_run(loop_.get(), UV_RUN_NOWAIT);
  }
  while (::recv(oldest.get(), &byte, 1, 0) != 0 && std::chrono::steady_clock::now() < deadline)
    std::this_thread::yield();
  EXPECT_EQ(::recv(oldest.get(), &byte, 1, 0), 0);
  EXPECT_EQ(::recv(newer.get(), &byte, 1, 0), -1);  // it is still connected
}

TEST_F(WorkersWithClients, MayBeAbandonedInTheMiddleOfAShutDown) {
  start(3);
  const auto clients = connect_many(6);
  workers_->shut_down([] { FAIL() << "they did not close"; });
  EXPECT_LE(workers_->abandon(), 6U);
}

std::set<int> threads() {
  std::set<int> numbers;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task"))
    numbers.insert(std::stoi(entry.path().filename().string()));
  return numbers;
}

TEST_F(WorkersWithClients, GetNoSignalOfTheProcess) {
  const auto others = threads();  // these include libuv's threads, if an earlier test created them
  start(2);
  std::set<int> workers = threads();
  for (const int other : others) workers.erase(other);
  ASSERT_EQ(workers.size(), 2U);
  static std::atomic<int> caught_in{0};
  const auto before = std::signal(SIGHUP, [](int) { caught_in = ::gettid(); });
  sigset_t hangup;
  sigemptyset(&hangup);
  sigaddset(&hangup, SIGHUP);
  // While the main thread blocks the signal, the kernel delivers it to any thread that does not block it.
  ::pthread_sigmask(SIG_BLOCK, &hangup, nullptr);
  ::kill(::getpid(), SIGHUP);
  const auto clients = connect_many(2);
  workers_.reset();
  EXPECT_FALSE(workers.contains(caught_in.load()));
  ::pthread_sigmask(SIG_UNBLOCK, &hangup, nullptr);
  EXPECT_NE(caught_in, 0);
  EXPECT_FALSE(workers.contains(caught_in.load()));
  std::signal(SIGHUP, before);
}

}  // namespace
}  // namespace pgveil::proxy
