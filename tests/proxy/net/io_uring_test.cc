#include "proxy/net/io_uring.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "proxy/base/deadline.h"
#include "proxy/net/socket_stream.h"

namespace pgveil::proxy {
namespace {

using Status = Stream::Status;
using namespace std::chrono_literals;

constexpr std::size_t kReadBytes = 65'536;

ByteView view(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// Returns a sequence of numbers of `size` bytes, so that bytes that are lost or out of order are found.
std::string pattern(std::size_t size) {
  std::string text;
  for (std::size_t i = 0; text.size() < size; ++i) text += std::to_string(i) + ' ';
  text.resize(size);
  return text;
}

// The peer's end of a socket. No function blocks.
class Peer {
 public:
  explicit Peer(int descriptor) : descriptor_(descriptor) {}
  ~Peer() { close(); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  std::size_t send(const std::string& text) const {
    const auto sent = ::send(descriptor_, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? 0 : static_cast<std::size_t>(sent);
  }
  // Returns the bytes that have arrived, and sets has_end at the end of the other side.
  std::string receive() {
    std::string text(std::size_t{1} << 20U, '\0');
    const auto received = ::recv(descriptor_, text.data(), text.size(), MSG_DONTWAIT);
    has_end = received == 0;
    text.resize(received < 0 ? 0 : static_cast<std::size_t>(received));
    return text;
  }
  void end() const { ::shutdown(descriptor_, SHUT_WR); }
  void close() {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = -1;
  }

  bool has_end = false;

 private:
  int descriptor_;
};

// A stream that uses a ring, and the bytes that were read from it.
class Reader final : public Wakeable {
 public:
  // `ring`: if nullptr, the stream uses the loop.
  Reader(uv_loop_t* loop, Ring* ring) {
    std::array<int, 2> sockets{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets.data()), 0);
    stream.emplace(loop, sockets[0], *this);
    peer.emplace(sockets[1]);
    if (ring != nullptr) stream->move_to(*ring);
  }

  void wake() override {
    ++wakes;
    if (on_wake) on_wake();
    if (reads) read();
  }
  void read() {
    while (stream->readable()) {
      const auto read = stream->read(scratch, most);
      status = read.status;
      if (read.status != Status::bytes) return;
      text.append(reinterpret_cast<const char*>(read.bytes.data()), read.bytes.size());
    }
  }
  void write(const std::string& bytes) { stream->write(scratch, view(bytes)); }

  Scratch scratch{kReadBytes};
  std::optional<SocketStream> stream;
  std::optional<Peer> peer;
  std::string text;
  Status status = Status::blocked;
  std::size_t most = kReadBytes;
  bool reads = true;
  int wakes = 0;
  std::function<void()> on_wake;
  std::uint64_t woken_at = 0;
};

class ARing : public ::testing::Test, private Wakeable {
 protected:
  void SetUp() override {
    uv_loop_init(&loop_);
    uv_timer_init(&loop_, clock_.get());
    auto ring = Ring::open();
    if (!ring) GTEST_SKIP() << ring.error();
    ring_ = *std::move(ring);
    patience_.emplace(&loop_, static_cast<Wakeable&>(*this));
    patience_->set(20s);
    uv_timer_start(
        clock_.get(), [](uv_timer_t*) {}, 5, 5);
  }
  void TearDown() override {
    patience_.reset();
    clock_.reset();
    readers_.clear();
    ring_.reset();
    uv_run(&loop_, UV_RUN_DEFAULT);
    EXPECT_EQ(uv_loop_close(&loop_), 0);
  }
  void wake() override {}

  Reader& reader(bool at_ring = true) {
    return *readers_.emplace_back(std::make_unique<Reader>(&loop_, at_ring ? ring_.get() : nullptr));
  }
  // Runs turns until `done` returns true, for at most 20 seconds. The effect of libuv's callbacks is checked only
  // after the wait of the same turn, and the timer `clock_` ends this wait.
  [[nodiscard]] bool run_until(const std::function<bool()>& done) {
    while (!done()) {
      if (patience_->passed()) return false;
      static_cast<void>(ring_->run_once(&loop_));
    }
    return true;
  }
  // Runs the ring until a byte has arrived at a new stream, so that the wait certainly ends.
  void turn() {
    Reader& other = reader();
    other.peer->send("x");
    ASSERT_TRUE(run_until([&] { return !other.text.empty(); }));
  }

  uv_loop_t loop_{};
  std::unique_ptr<Ring> ring_;
  std::optional<Deadline> patience_;
  Handle<uv_timer_t> clock_{new uv_timer_t};
  std::vector<std::unique_ptr<Reader>> readers_;
};

TEST_F(ARing, BringsWhatComes) {
  Reader& r = reader();
  r.peer->send("first");
  ASSERT_TRUE(run_until([&] { return r.text == "first"; }));
  r.peer->send("second");
  ASSERT_TRUE(run_until([&] { return r.text == "firstsecond"; }));
}

TEST_F(ARing, BringsMoreThanOneReceiveTakesInOrder) {
  Reader& r = reader();
  const std::string sent = pattern(5 * Ring::kMaxBytes + 1);
  ASSERT_EQ(r.peer->send(sent), sent.size());
  ASSERT_TRUE(run_until([&] { return r.text.size() >= sent.size(); }));
  EXPECT_EQ(r.text, sent);
}

TEST_F(ARing, BringsExactlyWhatOneReceiveTakes) {
  Reader& r = reader();
  const std::string sent = pattern(Ring::kMaxBytes);
  r.peer->send(sent);
  ASSERT_TRUE(run_until([&] { return r.text.size() >= sent.size(); }));
  r.peer->send("more");
  ASSERT_TRUE(run_until([&] { return r.text == sent + "more"; }));
}

// Sessions use the loop's time to measure the time since their last byte.
TEST_F(ARing, HasBroughtTheLoopsTimeUpToDateBeforeItWakesAnybody) {
  Reader& r = reader();
  turn();
  uv_timer_stop(clock_.get());
  const auto began = time_now();
  while (time_now() < began + 30ms) {
  }
  r.on_wake = [&] { r.woken_at = uv_now(&loop_); };
  r.peer->send("x");
  ASSERT_TRUE(run_until([&] { return r.text == "x"; }));
  EXPECT_GE(std::chrono::milliseconds(r.woken_at), began + 25ms);
}

TEST_F(ARing, WakesAgainAReaderThatHasLeftSomething) {
  Reader& r = reader();
  r.reads = false;
  r.peer->send("0123456789");
  ASSERT_TRUE(run_until([&] { return r.wakes > 0; }));
  const auto read = r.stream->read(r.scratch, 4);
  ASSERT_EQ(read.status, Status::bytes);
  EXPECT_EQ(read.bytes.size(), 4U);
  r.reads = true;
  ASSERT_TRUE(run_until([&] { return r.text == "456789"; }));
}

TEST_F(ARing, TellsAnEnd) {
  Reader& r = reader();
  r.peer->send("bye");
  r.peer->close();
  ASSERT_TRUE(run_until([&] { return r.status == Status::ended; }));
  EXPECT_EQ(r.text, "bye");
}

TEST_F(ARing, TellsOfAConnectionThatBreaks) {
  Reader& r = reader();
  turn();
  r.write("unread");
  turn();
  r.peer->close();  // unread bytes cause ECONNRESET
  ASSERT_TRUE(run_until([&] { return r.status == Status::failed; }));
  EXPECT_EQ(r.stream->error(), "Connection reset by peer");
  EXPECT_TRUE(r.stream->write_broken());
}

TEST_F(ARing, SendsAtTheEndOfTheTurn) {
  Reader& r = reader();
  r.write("one ");
  r.write("two");
  EXPECT_EQ(r.peer->receive(), "");
  EXPECT_EQ(r.stream->unwritten(), 0U);
  turn();
  EXPECT_EQ(r.peer->receive(), "one two");
}

TEST_F(ARing, KeepsTheOrderOfSmallAndLargeWrites) {
  Reader& r = reader();
  const std::string large = pattern(Ring::kMaxBytes + 1);
  r.write("small ");
  r.write(large);
  r.write(" small");
  std::string received;
  ASSERT_TRUE(run_until([&] {
    turn();
    received += r.peer->receive();
    return received.size() >= large.size() + 12;
  }));
  EXPECT_EQ(received, "small " + large + " small");
}

// Each turn sends few bytes. After some turns the send buffer becomes full in the middle of a send.
TEST_F(ARing, KeepsWhatTheKernelDoesNotTake) {
  Reader& r = reader();
  const std::string piece = pattern(10'000);
  std::string sent;
  while (r.stream->unwritten() == 0) {
    ASSERT_LT(sent.size(), std::size_t{64} << 20U);
    r.write(piece);
    sent += piece;
    turn();
  }
  r.write("last");
  sent += "last";
  std::string received;
  ASSERT_TRUE(run_until([&] {
    turn();
    received += r.peer->receive();
    return received.size() >= sent.size();
  }));
  EXPECT_EQ(received, sent);
  EXPECT_EQ(r.stream->unwritten(), 0U);
  EXPECT_GT(r.wakes, 0);
}

TEST_F(ARing, TellsThatNothingCanBeSentAnyMore) {
  Reader& r = reader();
  r.reads = false;
  turn();
  r.peer->close();
  r.write("to nobody");
  ASSERT_TRUE(run_until([&] { return r.stream->write_broken(); }));
}

TEST_F(ARing, SendsWhatIsWrittenBeforeTheEnd) {
  Reader& r = reader();
  r.write("last words");
  r.stream->finish(r.scratch, Stream::Finish::complete);
  EXPECT_EQ(r.stream->unwritten(), 0U);
  EXPECT_EQ(r.peer->receive(), "last words");
  EXPECT_EQ(r.peer->receive(), "");
  EXPECT_TRUE(r.peer->has_end);
}

TEST_F(ARing, GoesOnReadingAfterOurEnd) {
  Reader& r = reader();
  r.stream->finish(r.scratch, Stream::Finish::complete);
  r.peer->send("answer");
  ASSERT_TRUE(run_until([&] { return r.text == "answer"; }));
}

TEST_F(ARing, WakesNobodyForWhatComesWhilePaused) {
  Reader& r = reader();
  turn();
  r.peer->send("x");
  ASSERT_TRUE(run_until([&] { return r.text == "x"; }));
  r.stream->pause_reading();
  turn();
  r.peer->send("later");
  const int wakes = r.wakes;
  turn();
  turn();
  EXPECT_EQ(r.wakes, wakes);
  r.stream->resume_reading();
  ASSERT_TRUE(run_until([&] { return r.text == "xlater"; }));
}

TEST_F(ARing, TellsOfAPeerThatIsGoneWhilePaused) {
  Reader& r = reader();
  r.peer->send("x");
  ASSERT_TRUE(run_until([&] { return r.text == "x"; }));
  r.stream->pause_reading();
  turn();
  EXPECT_FALSE(r.stream->peer_gone());
  r.peer->close();
  ASSERT_TRUE(run_until([&] { return r.stream->peer_gone(); }));
}

// All bytes that the ring has received, and all bytes in the socket, are read before the failure is reported.
TEST_F(ARing, GivesWhatCameBeforeABreakWhilePaused) {
  Reader& r = reader();
  turn();
  r.reads = false;
  const std::string sent = pattern(3 * Ring::kMaxBytes);
  ASSERT_EQ(r.peer->send(sent), sent.size());
  ASSERT_TRUE(run_until([&] { return r.wakes > 0; }));
  r.stream->pause_reading();
  r.write("unread");
  turn();
  r.peer->close();  // unread bytes cause ECONNRESET
  ASSERT_TRUE(run_until([&] { return r.stream->write_broken(); }));
  r.reads = true;
  r.stream->resume_reading();
  r.read();
  ASSERT_TRUE(run_until([&] { return r.status == Status::failed; }));
  EXPECT_EQ(r.text, sent);
  EXPECT_EQ(r.stream->error(), "Connection reset by peer");
}

// A Unix socket shows the difference. After the peer has closed it, written bytes cannot arrive.
TEST_F(ARing, TellsAPeerThatHasClosedFromOneThatHasEndedItsSide) {
  for (const bool closes : {true, false}) {
    Reader& r = reader();
    turn();
    r.stream->pause_reading();
    turn();
    if (closes) {
      r.peer->close();
    } else {
      r.peer->end();
    }
    ASSERT_TRUE(run_until([&] { return r.stream->peer_gone(); }));
    EXPECT_EQ(r.stream->write_broken(), closes);
    EXPECT_EQ(r.stream->error(), "");
  }
}

TEST_F(ARing, TellsOfAConnectionThatBreaksWhilePaused) {
  Reader& r = reader();
  turn();
  r.stream->pause_reading();
  r.write("unread");
  turn();
  r.peer->close();  // unread bytes cause ECONNRESET
  ASSERT_TRUE(run_until([&] { return r.stream->write_broken(); }));
  EXPECT_TRUE(r.stream->peer_gone());
  EXPECT_EQ(r.stream->error(), "Connection reset by peer");
}

// The owner is woken once for the end, even if reading was paused and resumed many times before.
TEST_F(ARing, TellsOfAPeerThatIsGoneAfterManyPauses) {
  Reader& r = reader();
  for (int pause = 0; pause < 5; ++pause) {
    r.stream->pause_reading();
    turn();
    r.stream->resume_reading();
    const auto before = r.text.size();
    r.peer->send("x");
    ASSERT_TRUE(run_until([&] { return r.text.size() > before; }));
  }
  r.stream->pause_reading();
  r.peer->send("unread");
  const int wakes = r.wakes;
  r.peer->close();
  ASSERT_TRUE(run_until([&] { return r.stream->peer_gone(); }));
  EXPECT_EQ(r.wakes, wakes + 1);
  r.stream->resume_reading();
  ASSERT_TRUE(run_until([&] { return r.status == Status::ended; }));
  EXPECT_EQ(r.text, "xxxxxunread");
}

TEST_F(ARing, TellsOfAPeerThatIsGoneFromAStreamThatWasPausedBefore) {
  Reader& r = reader(false);
  turn();
  r.stream->pause_reading();
  r.stream->move_to(*ring_);
  turn();
  r.peer->close();
  ASSERT_TRUE(run_until([&] { return r.stream->peer_gone(); }));
}

TEST_F(ARing, ClosesTheSocketOfAStreamThatGoes) {
  Reader& r = reader();
  turn();  // a receive is under way
  r.stream.reset();
  ASSERT_TRUE(run_until([&] {
    turn();
    r.peer->receive();
    return r.peer->has_end;
  }));
}

TEST_F(ARing, GivesNobodyWhatWasForAStreamThatIsGone) {
  Reader& gone = reader();
  turn();
  gone.peer->send("for the one that is gone");  // the receive that is under way takes these bytes
  gone.stream.reset();
  Reader& next = reader();  // uses the same entry of Ring::places_
  turn();
  next.peer->send("for the next");
  ASSERT_TRUE(run_until([&] { return !next.text.empty(); }));
  EXPECT_EQ(next.text, "for the next");
}

TEST_F(ARing, IsForTheThreadThatUsesItFirst) {
  std::thread([this] {
    Reader& r = reader();
    r.peer->send("there");
    EXPECT_TRUE(run_until([&] { return r.text == "there"; }));
    r.write("and back");
    turn();
    EXPECT_EQ(r.peer->receive(), "and back");
    readers_.clear();
  }).join();
}

// Tests with more streams than the ring has buffers and requests.
class ManyStreams : public ARing {
 protected:
  static constexpr std::size_t kStreams = 1'100;

  void SetUp() override {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < 2 * kStreams + 64)
      GTEST_SKIP() << "may open no more than " << limit.rlim_cur << " files";
    ARing::SetUp();
  }
};

TEST_F(ManyStreams, LoseNothingThatComes) {
  for (std::size_t i = 0; i < kStreams; ++i) reader().reads = false;
  turn();
  for (std::size_t i = 0; i < kStreams; ++i) readers_[i]->peer->send("bytes of " + std::to_string(i));
  ASSERT_TRUE(run_until([&] {
    return std::all_of(readers_.begin(), readers_.begin() + kStreams,
                       [](const auto& r) { return r->wakes > 0; });
  }));
  for (std::size_t i = 0; i < kStreams; ++i) readers_[i]->reads = true;
  for (std::size_t i = 0; i < kStreams; ++i) readers_[i]->read();
  ASSERT_TRUE(run_until([&] {
    return std::all_of(readers_.begin(), readers_.begin() + kStreams,
                       [](const auto& r) { return !r->text.empty(); });
  }));
  for (std::size_t i = 0; i < kStreams; ++i) EXPECT_EQ(readers_[i]->text, "bytes of " + std::to_string(i));
}

TEST_F(ManyStreams, LoseNothingThatIsSent) {
  const std::string piece = pattern(3'000);
  for (std::size_t i = 0; i < kStreams; ++i) reader().write(std::to_string(i) + ": " + piece);
  turn();
  for (std::size_t i = 0; i < kStreams; ++i)
    EXPECT_EQ(readers_[i]->peer->receive(), std::to_string(i) + ": " + piece);
}

}  // namespace
}  // namespace pgveil::proxy
