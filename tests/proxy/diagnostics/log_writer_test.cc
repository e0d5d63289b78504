#include "proxy/diagnostics/log_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spdlog/logger.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "proxy/base/descriptor.h"

namespace pgveil::proxy {
namespace {

using namespace std::chrono_literals;

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    reader = Descriptor(ends[0]);
    writer = Descriptor(ends[1]);
  }
  std::string read_to_end() {
    writer = Descriptor(-1);
    return read_rest();
  }
  // All that is written until the last writer is gone.
  [[nodiscard]] std::string read_rest() const {
    std::string text;
    std::array<char, 65'536> piece{};
    for (ssize_t size = 0; (size = ::read(reader.get(), piece.data(), piece.size())) > 0;)
      text.append(piece.data(), static_cast<std::size_t>(size));
    return text;
  }
  // As much as one call gives, after waiting for it.
  std::string read_once() {
    std::array<char, 1U << 20U> piece{};
    const ssize_t size = ::read(reader.get(), piece.data(), piece.size());
    return {piece.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
  }

  Descriptor reader{-1};
  Descriptor writer{-1};
};

struct Lost {
  std::atomic<std::uint64_t> dropped = 0;
  std::atomic<std::uint64_t> unwritable = 0;
  std::atomic<std::uint64_t> delays = 0;

  LogWriter::OnLoss counter() {
    return [this](LogWriter::Loss loss, std::uint64_t lines, const std::string& /*why*/) {
      switch (loss) {
        case LogWriter::Loss::dropped: dropped += lines; break;
        case LogWriter::Loss::unwritable: unwritable += lines; break;
        case LogWriter::Loss::delayed: ++delays; break;
      }
    };
  }
};

class LogWriterTest : public testing::Test {
 protected:
  void open(LogWriter::WhenFull when_full) {
    sink_ = std::make_shared<LogWriter>(pipe_.writer.get(), when_full, lost_.counter(), format_);
    logger_ = std::make_unique<spdlog::logger>("test", sink_);
    logger_->set_pattern("%v");
  }
  void say(const std::string& line) { logger_->log(spdlog::level::info, line); }
  // Writes out everything.
  void close() {
    EXPECT_TRUE(sink_->stop({.without_progress = 20s, .in_total = 20s}));
    logger_.reset();
  }

  Pipe pipe_;
  Lost lost_;
  LogWriter::Format format_;
  std::shared_ptr<LogWriter> sink_;
  std::unique_ptr<spdlog::logger> logger_;
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = text.find('\n', begin);
    lines.push_back(text.substr(begin, end - begin));
    begin = end == std::string::npos ? text.size() : end + 1;
  }
  return lines;
}

TEST_F(LogWriterTest, WritesEachLineInItsPattern) {
  open(LogWriter::WhenFull::drop_oldest);
  logger_->set_pattern("<%v>");
  say("one");
  say("two");
  close();
  EXPECT_EQ(pipe_.read_to_end(), "<one>\n<two>\n");
}

TEST_F(LogWriterTest, WritesWithoutBeingAskedTo) {
  open(LogWriter::WhenFull::drop_oldest);
  say("one");
  EXPECT_EQ(pipe_.read_once(), "one\n");
  say("two");
  EXPECT_EQ(pipe_.read_once(), "two\n");
}

// What one read() of a pipe gives is what came by one write(), or more of them.
TEST_F(LogWriterTest, WritesLinesThatComeTogetherAtOnce) {
  open(LogWriter::WhenFull::drop_oldest);
  std::size_t reads = 0;
  std::size_t lines = 0;
  std::thread reader([&] {
    for (; lines < 500; ++reads) lines += lines_of(pipe_.read_once()).size();
  });
  for (int line = 0; line < 500; ++line) say("a line");
  reader.join();
  EXPECT_LE(reads, 250u);  // and no more than a handful where the machine is quiet
}

TEST_F(LogWriterTest, KeepsEveryLineOfSeveralThreadsWhole) {
  open(LogWriter::WhenFull::keep);
  auto read = std::async(std::launch::async, [this] { return pipe_.read_rest(); });
  // More than there is room for.
  const std::string line(500, 'x');
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread)
    threads.emplace_back([&] {
      for (int i = 0; i < 5'000; ++i) say(line);
    });
  for (auto& thread : threads) thread.join();
  close();
  pipe_.writer = Descriptor(-1);
  const auto lines = lines_of(read.get());
  EXPECT_EQ(lines.size(), 20'000u);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), line), 20'000);
  EXPECT_EQ(lost_.dropped, 0u);
}

TEST_F(LogWriterTest, DropsTheOldestWhereNobodyReads) {
  open(LogWriter::WhenFull::drop_oldest);
  constexpr std::size_t kLines = 3 * LogWriter::kMaxBytes / 100;
  for (std::size_t line = 0; line < kLines; ++line) {
    std::string text = std::to_string(line);
    text.resize(99, ' ');
    say(text);  // and nobody waits
  }
  std::thread closing([this] { close(); });
  std::string text;
  std::vector<std::string> lines;
  do {
    text += pipe_.read_once();
    lines = lines_of(text);
  } while (lines.empty() || lines.back().size() < 99 || std::stoul(lines.back()) + 1 < kLines);
  closing.join();

  EXPECT_EQ(lines.size() + lost_.dropped, kLines);
  EXPECT_GT(lost_.dropped, kLines / 3);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    ASSERT_EQ(lines[i].size(), 99u);
    if (i > 0) {
      ASSERT_LT(std::stoul(lines[i - 1]), std::stoul(lines[i]));
    }
  }
}

// As the log itself does: that lines were lost is a line of it, and may be its last.
TEST_F(LogWriterTest, WritesWhatIsSaidOfLostLinesWhileItStops) {
  const auto sink =
      std::make_shared<LogWriter>(pipe_.writer.get(), LogWriter::WhenFull::drop_oldest,
                                  [this](LogWriter::Loss, std::uint64_t lines, const std::string&) {
                                    say("lost " + std::to_string(lines));
                                  });
  logger_ = std::make_unique<spdlog::logger>("test", sink);
  logger_->set_pattern("%v");
  const std::string line(9'999, 'x');
  for (std::size_t bytes = 0; bytes < 3 * LogWriter::kMaxBytes; bytes += line.size() + 1) say(line);
  auto read = std::async(std::launch::async, [this] { return pipe_.read_rest(); });
  EXPECT_TRUE(sink->stop({}));
  pipe_.writer = Descriptor(-1);
  const auto lines = lines_of(read.get());
  EXPECT_TRUE(std::any_of(lines.begin(), lines.end(),
                          [](const auto& written) { return written.starts_with("lost "); }));
}

TEST_F(LogWriterTest, SaysThatItIsFullAndLosesNoLineThatComesAllTheSame) {
  open(LogWriter::WhenFull::keep);
  const std::string line(9'999, 'x');
  std::size_t said = 0;
  for (; sink_->has_room(); ++said) say(line);  // and nobody waits
  EXPECT_GE(said, LogWriter::kMaxBytes / 10'000);
  say(line);
  EXPECT_TRUE(sink_->has_room(2));
  auto read = std::async(std::launch::async, [this] { return pipe_.read_rest(); });
  close();
  pipe_.writer = Descriptor(-1);
  EXPECT_EQ(read.get().size(), (said + 1) * 10'000);
  EXPECT_EQ(lost_.dropped + lost_.unwritable, 0u);
}

TEST_F(LogWriterTest, HasRoomAgainOnceItsLinesAreRead) {
  open(LogWriter::WhenFull::keep);
  const std::string line(99'999, 'x');
  while (sink_->has_room()) say(line);
  while (!sink_->has_room()) pipe_.read_once();
  auto read = std::async(std::launch::async, [this] { return pipe_.read_rest(); });
  close();
  pipe_.writer = Descriptor(-1);
  EXPECT_FALSE(read.get().empty());
}

TEST_F(LogWriterTest, TellsOfALineThatWasNotLogged) {
  open(LogWriter::WhenFull::keep);
  say("one");
  sink_->count_lost_line();
  close();
  EXPECT_EQ(pipe_.read_to_end(), "one\n");
  EXPECT_EQ(lost_.dropped, 1u);
}

TEST_F(LogWriterTest, StopsAlthoughNobodyReadsAndCountsWhatIsLost) {
  open(LogWriter::WhenFull::keep);
  const std::string line(9'999, 'x');
  for (int i = 0; i < 100; ++i) say(line);
  EXPECT_TRUE(sink_->stop({.without_progress = 20ms, .in_total = 1s}));
  logger_.reset();
  const auto whole = pipe_.read_to_end().size() / 10'000;
  EXPECT_EQ(whole + lost_.unwritable, 100u);
}

TEST_F(LogWriterTest, StopsAtAReaderThatIsSlowWithoutEnd) {
  open(LogWriter::WhenFull::keep);
  const std::string line(9'999, 'x');
  for (int i = 0; i < 300; ++i) say(line);
  std::atomic<bool> stopped = false;
  std::thread reader([&] {
    std::array<char, 8'192> piece{};
    while (!stopped && ::read(pipe_.reader.get(), piece.data(), piece.size()) > 0)
      std::this_thread::sleep_for(10ms);
  });
  EXPECT_TRUE(sink_->stop({.without_progress = 10s, .in_total = 100ms}));
  stopped = true;
  pipe_.writer = Descriptor(-1);
  reader.join();
  EXPECT_GT(lost_.unwritable, 0u);
}

TEST_F(LogWriterTest, MarksTheLevelOfEachLineForTheJournal) {
  format_.priority_facility = 0;
  open(LogWriter::WhenFull::drop_oldest);
  logger_->set_level(spdlog::level::trace);
  for (const auto level :
       {spdlog::level::debug, spdlog::level::info, spdlog::level::warn, spdlog::level::err})
    logger_->log(level, "a line");
  close();
  EXPECT_EQ(pipe_.read_to_end(), "<7>a line\n<6>a line\n<4>a line\n<3>a line\n");
}

TEST_F(LogWriterTest, HasTheFacilityInThePriority) {
  format_.priority_facility = 10;
  open(LogWriter::WhenFull::keep);
  logger_->log(spdlog::level::info, "a line");
  logger_->log(spdlog::level::warn, "a line");
  close();
  EXPECT_EQ(pipe_.read_to_end(), "<86>a line\n<84>a line\n");
}

TEST_F(LogWriterTest, BeginsOnALineOfItsOwn) {
  format_.begins_inside_line = true;
  open(LogWriter::WhenFull::keep);
  say("one");
  say("two");
  close();
  EXPECT_EQ(pipe_.read_to_end(), "\none\ntwo\n");
}

// A file of limited size is as a disk that is full: the kernel takes a part of what is written.
class FullDisk {
 public:
  FullDisk() : file_(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC | O_APPEND, 0600)) {
    EXPECT_GE(file_.get(), 0);
    std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
  }
  ~FullDisk() {
    set_room(before_.rlim_cur);
    std::signal(SIGXFSZ, SIG_DFL);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

  [[nodiscard]] Descriptor descriptor() const { return Descriptor(::fcntl(file_.get(), F_DUPFD_CLOEXEC, 0)); }
  void set_room(rlim_t bytes) const {
    const rlimit limit{.rlim_cur = bytes, .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  void free() const { set_room(before_.rlim_cur); }
  [[nodiscard]] std::string content() const {
    std::string text(100, '\0');
    text.resize(static_cast<std::size_t>(::pread(file_.get(), text.data(), text.size(), 0)));
    return text;
  }

 private:
  Descriptor file_;
  rlimit before_{};
};

TEST_F(LogWriterTest, BeginsANewLineAfterOneThatTheDiskTookInPart) {
  const FullDisk disk;
  pipe_.writer = disk.descriptor();
  open(LogWriter::WhenFull::drop_oldest);
  disk.set_room(6);
  say("one");
  say("two");
  while (lost_.unwritable == 0) std::this_thread::yield();
  disk.free();
  say("three");
  close();
  EXPECT_EQ(disk.content(), "one\ntw\nthree\n");
  EXPECT_EQ(lost_.unwritable, 1u);
}

TEST_F(LogWriterTest, WritesLinesThatAreKeptOnceThereIsRoomAgain) {
  const FullDisk disk;
  pipe_.writer = disk.descriptor();
  open(LogWriter::WhenFull::keep);
  disk.set_room(6);
  say("one");
  say("two");
  while (!sink_->is_failing()) std::this_thread::yield();
  say("three");
  disk.free();
  while (sink_->is_failing()) std::this_thread::yield();
  close();
  EXPECT_EQ(disk.content(), "one\ntw\ntwo\nthree\n");
  EXPECT_EQ(lost_.unwritable, 0u);
  EXPECT_EQ(lost_.delays, 1u);
}

TEST_F(LogWriterTest, CountsWhatCannotBeWritten) {
  pipe_.writer = Descriptor(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  open(LogWriter::WhenFull::drop_oldest);
  say("one");
  say("two");
  close();
  EXPECT_EQ(lost_.unwritable, 2u);
}

TEST_F(LogWriterTest, CountsAtItsEndWhatWasKeptAndCannotBeWritten) {
  pipe_.writer = Descriptor(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  open(LogWriter::WhenFull::keep);
  say("one");
  while (!sink_->is_failing()) std::this_thread::yield();
  EXPECT_EQ(lost_.unwritable, 0u);
  say("two");
  close();
  EXPECT_EQ(lost_.unwritable, 2u);
}

TEST_F(LogWriterTest, StopsKeepingWhatCannotBeWrittenWhenToldTo) {
  pipe_.writer = Descriptor(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  open(LogWriter::WhenFull::keep);
  say("one");
  while (!sink_->is_failing()) std::this_thread::yield();
  sink_->set_when_full(LogWriter::WhenFull::drop_oldest);
  while (lost_.unwritable == 0) std::this_thread::yield();
  EXPECT_FALSE(sink_->is_failing());
  close();
}

TEST_F(LogWriterTest, WritesToADescriptorThatDoesNotBlock) {
  ::fcntl(pipe_.writer.get(), F_SETFL, O_NONBLOCK);
  open(LogWriter::WhenFull::keep);
  const std::string line(99'999, 'x');
  for (int i = 0; i < 10; ++i) say(line);
  std::thread closing([this] { close(); });
  std::size_t bytes = 0;
  while (bytes < 1'000'000) bytes += pipe_.read_once().size();
  closing.join();
  EXPECT_EQ(bytes, 1'000'000u);
  EXPECT_EQ(lost_.unwritable, 0u);
}

}  // namespace
}  // namespace pgveil::proxy
