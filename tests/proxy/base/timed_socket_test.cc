#include "proxy/base/timed_socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <csignal>
#include <string_view>
#include <thread>

#include "tests/support/certificates.h"

namespace pgveil::proxy {
namespace {

using std::chrono::milliseconds;
using Clock = TimedSocket::Clock;

constexpr milliseconds kPatience{10'000};
constexpr milliseconds kShort{200};

// A server of the test's own, on a free port of 127.0.0.1.
class ATimedSocket : public testing::Test {
 protected:
  ATimedSocket() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const auto any = kernel_address(SocketAddress{.host = "127.0.0.1", .port = 0, .unix_path = ""});
    EXPECT_EQ(::bind(listener_.get(), any->get(), any->size), 0);
    address_ = bound_address(listener_.get());
  }
  void listen() { EXPECT_EQ(::listen(listener_.get(), 0), 0); }
  [[nodiscard]] tl::expected<TimedSocket, std::string> connect(milliseconds patience = kPatience) const {
    return TimedSocket::connect(address_, Clock::now() + patience);
  }

  Descriptor listener_;
  KernelAddress address_;
};

TEST_F(ATimedSocket, SendsAndReceivesUntilTheEnd) {
  listen();
  auto socket = connect();
  ASSERT_TRUE(socket);
  Descriptor peer(::accept(listener_.get(), nullptr, nullptr));
  constexpr std::array<std::uint8_t, 3> kBytes{1, 2, 3};
  EXPECT_FALSE(socket->send(kBytes));
  std::array<std::uint8_t, 3> received{};
  EXPECT_EQ(::recv(peer.get(), received.data(), received.size(), MSG_WAITALL), 3);
  EXPECT_EQ(received, kBytes);
  EXPECT_EQ(::send(peer.get(), kBytes.data(), kBytes.size(), 0), 3);
  EXPECT_EQ(socket->receive(2), (std::vector<std::uint8_t>{1, 2}));
  EXPECT_EQ(socket->receive(2), std::vector<std::uint8_t>{3});
  ::shutdown(peer.get(), SHUT_WR);
  EXPECT_EQ(socket->receive(2), std::vector<std::uint8_t>());
}

TEST_F(ATimedSocket, HasTheErrorOfTheSystem) {
  const auto socket = connect();
  ASSERT_FALSE(socket);
  EXPECT_EQ(socket.error(), "Connection refused");
}

// connect() to a Unix socket with a full queue fails at once, and nothing reports when there is room.
TEST(ATimedUnixSocket, WaitsForRoomInTheQueue) {
  const test::TemporaryFolder folder;
  const auto address = kernel_address(SocketAddress{.host = "", .port = 0, .unix_path = folder.path("s")});
  ASSERT_TRUE(address);
  const Descriptor listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(listener.get(), address->get(), address->size), 0);
  ASSERT_EQ(::listen(listener.get(), 0), 0);
  const auto first = TimedSocket::connect(*address, Clock::now() + kPatience);
  ASSERT_TRUE(first);
  const auto late = TimedSocket::connect(*address, Clock::now() + kShort);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error(), kNoAnswer);
  std::jthread acceptor([&] {
    std::this_thread::sleep_for(kShort);
    const Descriptor accepted(::accept(listener.get(), nullptr, nullptr));
  });
  EXPECT_TRUE(TimedSocket::connect(*address, Clock::now() + kPatience));
}

TEST_F(ATimedSocket, WaitsUntilTheDeadline) {
  listen();
  auto socket = connect();
  ASSERT_TRUE(socket);
  socket->set_deadline(Clock::now() + milliseconds(10));
  const auto received = socket->receive(1);
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error(), kNoAnswer);
  // A peer that reads nothing.
  const std::vector<std::uint8_t> much(std::size_t{64} << 20U);
  socket->set_deadline(Clock::now() + milliseconds(10));
  EXPECT_EQ(socket->send(much), kNoAnswer);
}

TEST_F(ATimedSocket, ReadsNothingAfterTheDeadlineEvenIfBytesAreThere) {
  listen();
  auto socket = connect();
  ASSERT_TRUE(socket);
  Descriptor peer(::accept(listener_.get(), nullptr, nullptr));
  constexpr std::array<std::uint8_t, 2> kBytes{1, 2};
  ASSERT_EQ(::send(peer.get(), kBytes.data(), kBytes.size(), 0), 2);
  ASSERT_EQ(socket->receive(1), std::vector<std::uint8_t>{1});  // so the other byte is there, too
  socket->set_deadline(Clock::now() - milliseconds(1));
  const auto received = socket->receive(1);
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error(), kNoAnswer);
}

volatile std::sig_atomic_t signals = 0;

// Sends SIGALRM to this process again and again.
class Interruptions {
 public:
  Interruptions() {
    struct sigaction action {};
    action.sa_handler = [](int) { signals = signals + 1; };
    ::sigaction(SIGALRM, &action, &old_);
    const timeval each{.tv_sec = 0, .tv_usec = 20'000};
    const itimerval timer{.it_interval = each, .it_value = each};
    ::setitimer(ITIMER_REAL, &timer, nullptr);
  }
  Interruptions(const Interruptions&) = delete;
  Interruptions& operator=(const Interruptions&) = delete;
  ~Interruptions() {
    const itimerval none{};
    ::setitimer(ITIMER_REAL, &none, nullptr);
    ::sigaction(SIGALRM, &old_, nullptr);
  }

 private:
  struct sigaction old_ {};
};

// A connection that is not made yet has no error either.
TEST_F(ATimedSocket, DoesNotTakeASignalForAConnection) {
  listen();
  const auto first = connect();  // fills the queue of the listener, which nobody empties
  ASSERT_TRUE(first);
  const Interruptions interruptions;
  const auto begin = Clock::now();
  const auto second = connect(kShort);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error(), kNoAnswer);
  EXPECT_GE(Clock::now() - begin, kShort);
  EXPECT_GT(signals, 1);
}

}  // namespace
}  // namespace pgveil::proxy
