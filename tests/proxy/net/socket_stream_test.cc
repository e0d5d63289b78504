// Tests which events wake the owner of a SocketStream, on TCP sockets, with libuv's loop and with a ring.
#include "proxy/net/socket_stream.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <malloc.h>  // mallinfo2
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proxy/base/deadline.h"
#include "proxy/net/io_uring.h"

namespace pgveil::proxy {
namespace {

using namespace std::chrono_literals;

// Returns two connected TCP sockets on loopback. The first one is non-blocking; it is -1 if something failed.
std::array<int, 2> tcp_pair() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int near = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int far = -1;
  if (::bind(listener, generic, size) == 0 && ::listen(listener, 1) == 0 &&
      ::getsockname(listener, generic, &size) == 0 && ::connect(near, generic, size) == 0)
    far = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  const int yes = 1;
  ::setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  ::close(listener);
  return {far, near};
}

TEST(WatchedSocket, IsRefusedWithTheReasonOfTheKernel) {
  Loop loop;
  const auto watched = watch_socket(loop.get(), Descriptor(::open("/dev/null", O_RDWR | O_CLOEXEC)));
  ASSERT_FALSE(watched.has_value());
  EXPECT_EQ(watched.error(), EPERM);
}

enum class Engine { loop, ring };

class ASocketStream : public ::testing::TestWithParam<Engine>, private Wakeable {
 protected:
  void SetUp() override {
    // If a timer is due when uv_run() begins, uv_run() still waits for a further event after the timer. This
    // repeating timer ends the wait.
    uv_timer_init(loop_.get(), clock_.get());
    uv_timer_start(
        clock_.get(), [](uv_timer_t*) {}, 1, 1);
    if (GetParam() == Engine::ring) {
      auto opened = Ring::open();
      if (!opened) GTEST_SKIP() << opened.error();
      ring_ = *std::move(opened);
    }
    const auto sockets = tcp_pair();
    ASSERT_GE(sockets[0], 0);
    far_ = sockets[1];
    stream_ = std::make_unique<SocketStream>(loop_.get(), sockets[0], static_cast<Wakeable&>(*this));
    if (ring_) stream_->move_to(*ring_);
    run_for(1ms);
    read();
  }
  void TearDown() override {
    stream_.reset();
    ring_.reset();
    if (far_ >= 0) ::close(far_);
  }

  void wake() override { read(); }
  void read() {
    while (stream_->readable()) {
      const auto found = stream_->read(scratch_, scratch_.incoming.size());
      ended_ = found.status == Stream::Status::ended;
      failed_ = found.status == Stream::Status::failed;
      if (found.status != Stream::Status::bytes) return;
      bytes_ += found.bytes.size();
      text_.append(reinterpret_cast<const char*>(found.bytes.data()), found.bytes.size());
      ++pieces_;
    }
  }
  // Sends a sequence of numbers, so that bytes that are lost or out of order are found.
  void send(std::size_t size) {
    std::string text;
    while (text.size() < size) text += std::to_string(++numbers_) + ' ';
    text.resize(size);
    sent_ += text;
    ASSERT_EQ(::send(far_, text.data(), size, MSG_NOSIGNAL), static_cast<ssize_t>(size));
  }
  void turn() {
    if (ring_) {
      static_cast<void>(ring_->run_once(loop_.get()));
    } else {
      uv_run(loop_.get(), UV_RUN_ONCE);
    }
  }
  [[nodiscard]] bool run_until(const std::function<bool()>& done) {
    timer_.set(20s);
    while (!done()) {
      if (timer_.passed()) return false;
      turn();
    }
    return true;
  }
  void run_for(std::chrono::milliseconds time) {
    timer_.set(time);
    while (!timer_.passed()) turn();
  }

  struct Quiet final : Wakeable {
    void wake() override {}
  };

  Loop loop_;
  Handle<uv_timer_t> clock_{new uv_timer_t};
  Quiet quiet_;
  Deadline timer_{loop_.get(), quiet_};
  std::unique_ptr<Ring> ring_;
  Scratch scratch_{std::size_t{256} << 10U};
  std::unique_ptr<SocketStream> stream_;
  int far_ = -1;
  std::size_t bytes_ = 0;
  int pieces_ = 0;
  int numbers_ = 0;
  std::string sent_;
  std::string text_;
  bool ended_ = false;
  bool failed_ = false;
};

TEST_P(ASocketStream, WakesForAnyByte) {
  send(1);
  EXPECT_TRUE(run_until([&] { return bytes_ == 1; }));
}

TEST_P(ASocketStream, WakesForSoManyBytesWhereItIsTold) {
  stream_->wake_at(10'000);
  send(9'000);
  run_for(20ms);
  EXPECT_EQ(bytes_, 0U);
  send(1'000);
  EXPECT_TRUE(run_until([&] { return bytes_ == 10'000; }));
  EXPECT_EQ(pieces_, 1);
}

TEST_P(ASocketStream, SeesWhatIsThereOnceFewerAreEnough) {
  stream_->wake_at(10'000);
  send(9'000);
  run_for(20ms);
  ASSERT_EQ(bytes_, 0U);
  stream_->wake_at(1);
  EXPECT_TRUE(run_until([&] { return bytes_ == 9'000; }));
}

TEST_P(ASocketStream, WakesForAnEndBehindFewerBytes) {
  stream_->wake_at(10'000);
  send(5);
  ::shutdown(far_, SHUT_WR);
  EXPECT_TRUE(run_until([&] { return ended_; }));
  EXPECT_EQ(bytes_, 5U);
}

TEST_P(ASocketStream, WakesForSoManyBytesAgainAndAgain) {
  stream_->wake_at(100'000);
  for (std::size_t size = 100'000; size <= 1'000'000; size += 100'000) {
    send(99'000);
    run_for(3ms);
    ASSERT_EQ(bytes_, size - 100'000);
    send(1'000);
    ASSERT_TRUE(run_until([&] { return bytes_ == size; }));
  }
  EXPECT_EQ(pieces_, 10);
  EXPECT_EQ(text_, sent_);
}

TEST_P(ASocketStream, LosesNothingWhereTheNumberChanges) {
  for (int round = 0; round < 50; ++round) {
    stream_->wake_at(50'000);
    send(30'000);
    if (round % 3 == 0) run_for(1ms);
    send(30'000);
    if (round % 2 == 0) {
      ASSERT_TRUE(run_until([&] { return bytes_ + 50'000 > sent_.size(); }));
    }
    send(7);
    stream_->wake_at(1);
    send(20'000);
    if (round % 5 != 0) {
      ASSERT_TRUE(run_until([&] { return bytes_ == sent_.size(); }));
    }
  }
  EXPECT_TRUE(run_until([&] { return bytes_ == sent_.size(); }));
  EXPECT_EQ(text_, sent_);
}

std::size_t allocated_bytes() {
  const auto heap = ::mallinfo2();
  return heap.uordblks + heap.hblkhd;
}

TEST_P(ASocketStream, HoldsNoMemoryOnceAllIsSent) {
  constexpr std::size_t kMany = std::size_t{32} << 20U;  // more than the kernel accepts
  const std::vector<std::uint8_t> many(kMany);
  std::vector<char> piece(std::size_t{1} << 20U);
  const std::size_t before = allocated_bytes();
  stream_->write(scratch_, many);
  ASSERT_GT(stream_->unwritten(), std::size_t{1} << 20U);
  std::size_t received = 0;
  ASSERT_TRUE(run_until([&] {
    const ssize_t size = ::recv(far_, piece.data(), piece.size(), MSG_DONTWAIT);
    received += size > 0 ? static_cast<std::size_t>(size) : 0;
    return received == kMany;
  }));
  EXPECT_EQ(stream_->unwritten(), 0U);
  EXPECT_LT(allocated_bytes(), before + (std::size_t{64} << 10U));
}

TEST_P(ASocketStream, MayGoWhileItWaits) {
  stream_->wake_at(50'000);
  send(50'000);
  ASSERT_TRUE(run_until([&] { return bytes_ == 50'000; }));
  send(10);
  run_for(1ms);
  stream_.reset();
  run_for(3ms);
  std::array<char, 1> byte{};
  EXPECT_EQ(::recv(far_, byte.data(), byte.size(), MSG_DONTWAIT), -1);  // closed, not only unwatched
  EXPECT_EQ(errno, ECONNRESET);
}

// --- ends and breaks while paused ---

class APausedSocketStream : public ASocketStream {
 protected:
  // Bytes have arrived that the owner does not read yet.
  void SetUp() override {
    ASocketStream::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    stream_->pause_reading();
    send(100'000);
    run_for(3ms);
    ASSERT_EQ(bytes_, 0U);
  }
  void end() { ::shutdown(far_, SHUT_WR); }
  void reset() {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(far_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    ::close(std::exchange(far_, -1));
  }
  void wake() override {
    ++wakes_;
    if (reads_) read();
  }

  bool reads_ = false;
  int wakes_ = 0;
};

TEST_P(APausedSocketStream, TellsOfABreakAndStillGivesWhatCameBefore) {
  reset();
  ASSERT_TRUE(run_until([&] { return stream_->write_broken(); }));
  reads_ = true;
  stream_->resume_reading();
  ASSERT_TRUE(run_until([&] { return failed_; }));
  EXPECT_EQ(text_, sent_);
  EXPECT_EQ(stream_->error(), "Connection reset by peer");
}

TEST_P(APausedSocketStream, GivesWhatCameBeforeABreakInPieces) {
  reset();
  ASSERT_TRUE(run_until([&] { return stream_->write_broken(); }));
  // A relay that is paused again and again reads in this way.
  for (int piece = 0; piece < 5; ++piece) {
    stream_->resume_reading();
    ASSERT_TRUE(stream_->readable());
    const auto read = stream_->read(scratch_, 10'000);
    ASSERT_EQ(read.status, Stream::Status::bytes);
    text_.append(reinterpret_cast<const char*>(read.bytes.data()), read.bytes.size());
    stream_->pause_reading();
    run_for(2ms);
  }
  reads_ = true;
  stream_->resume_reading();
  ASSERT_TRUE(run_until([&] { return failed_; }));
  EXPECT_EQ(text_, sent_);
}

TEST_P(APausedSocketStream, IsNotWokenAgainAndAgainByABreak) {
  reset();
  ASSERT_TRUE(run_until([&] { return stream_->write_broken(); }));
  const int wakes = wakes_;
  run_for(20ms);
  EXPECT_LE(wakes_, wakes + 1);
}

TEST_P(APausedSocketStream, DoesNotWakeItsOwnerForBytes) {
  EXPECT_EQ(wakes_, 0);
  send(1'000);
  run_for(3ms);
  EXPECT_EQ(wakes_, 0);
}

// After it is resumed, the reads find the end.
TEST_P(APausedSocketStream, ReportsAnEndOnlyWhileItIsPaused) {
  stream_->resume_reading();
  end();
  run_for(3ms);
  EXPECT_FALSE(stream_->peer_gone());
  reads_ = true;
  read();
  ASSERT_TRUE(run_until([&] { return ended_; }));
  EXPECT_EQ(text_, sent_);
}

TEST_P(APausedSocketStream, TellsAnEndFromABreak) {
  end();
  ASSERT_TRUE(run_until([&] { return stream_->peer_gone(); }));
  EXPECT_FALSE(stream_->write_broken());
  reads_ = true;
  stream_->resume_reading();
  ASSERT_TRUE(run_until([&] { return ended_; }));
  EXPECT_EQ(text_, sent_);
}

TEST_P(APausedSocketStream, TakesABreakThatASendHasFoundForABreak) {
  reset();
  run_for(3ms);
  for (int write = 0; write < 3; ++write) {
    stream_->write(scratch_, std::vector<std::uint8_t>(Ring::kMaxBytes + 1));
    run_for(1ms);
  }
  EXPECT_TRUE(stream_->write_broken());
  reads_ = true;
  stream_->resume_reading();
  ASSERT_TRUE(run_until([&] { return failed_; }));
  EXPECT_EQ(text_, sent_);
}

// The peer ends its side, and later breaks the connection before it has read everything.
TEST_P(APausedSocketStream, IsNotWokenAgainAndAgainByABreakBehindAnEnd) {
  reads_ = true;
  stream_->resume_reading();
  end();
  ASSERT_TRUE(run_until([&] { return ended_; }));
  const std::vector<std::uint8_t> many(std::size_t{32} << 20U);
  stream_->write(scratch_, many);
  ASSERT_GT(stream_->unwritten(), 0U);
  reset();
  ASSERT_TRUE(run_until([&] { return stream_->write_broken(); }));
  EXPECT_EQ(stream_->unwritten(), 0U);
  const int wakes = wakes_;
  run_for(20ms);
  EXPECT_LE(wakes_, wakes + 1);
}

INSTANTIATE_TEST_SUITE_P(With, APausedSocketStream, ::testing::Values(Engine::loop, Engine::ring),
                         [](const auto& engine) {
                           return engine.param == Engine::loop ? "TheLoop" : "ARing";
                         });

INSTANTIATE_TEST_SUITE_P(With, ASocketStream, ::testing::Values(Engine::loop, Engine::ring),
                         [](const auto& engine) {
                           return engine.param == Engine::loop ? "TheLoop" : "ARing";
                         });

}  // namespace
}  // namespace pgveil::proxy
