// Commands that print passwords: real processes on a real loop.
#include "proxy/credentials/password_command.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace pgveil::proxy {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;

// --- what may be set ---

struct Faulty {
  const char* name;
  std::vector<std::string> argv;
  const char* fault;  // a part of it
};
void PrintTo(const Faulty& row, std::ostream* out) {
  *out << row.name;
}

class PasswordCommandError : public testing::TestWithParam<Faulty> {};

TEST_P(PasswordCommandError, IsReported) {
  const auto fault = check_password_command(GetParam().argv);
  ASSERT_TRUE(fault);
  EXPECT_NE(fault->message.find(GetParam().fault), std::string::npos) << fault->message;
}

constexpr const char* kLetters = "% that is not followed by h, p, u, d or %";
constexpr const char* kScript = "runs a script that contains names";

// clang-format off
INSTANTIATE_TEST_SUITE_P(Arguments, PasswordCommandError, testing::Values(
    Faulty{"None", {}, "does not name a program"},
    Faulty{"EmptyProgram", {""}, "does not name a program"},
    Faulty{"UnknownLetter", {"token", "%x"}, kLetters},
    Faulty{"PercentAtTheEnd", {"token", "100%"}, kLetters},
    Faulty{"PercentBehindTwo", {"token", "%%%"}, kLetters},
    Faulty{"PercentBeforeACapital", {"token", "%U"}, kLetters},
    Faulty{"NulByte", {"token", "a\0b"s}, "NUL"},
    Faulty{"ProgramOfTheClients", {"/usr/bin/%u"}, "takes the name of the program from the login"},
    Faulty{"UserInAScript", {"/bin/sh", "-c", "token %u"}, kScript},
    Faulty{"DatabaseInAScript", {"bash", "-ec", "token '%d'"}, kScript},
    Faulty{"UserInAScriptBehindOptions", {"bash", "-o", "pipefail", "-c", "-e", "token %u"}, kScript},
    Faulty{"UserInAScriptOfAWrappedShell", {"timeout", "5", "sh", "-c", "token %u"}, kScript}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(PasswordCommandCheck, TakesPlaceholdersInArguments) {
  using Argv = std::vector<std::string>;
  for (const Argv& argv : {Argv{"token"}, Argv{"token", "--host=%h:%p", "--user=%u", "%d", "%%", "%%u", ""},
                           Argv{"/bin/sh", "-c", R"(token "$1" 100%%u)", "sh", "%u"}, Argv{"sh", "%u"},
                           Argv{"token", "-c", "%u"}, Argv{"50%%/token"}})
    EXPECT_FALSE(check_password_command(argv)) << argv.back();
}

// --- what runs ---

class Waiter final : public Wakeable {
 public:
  void wake() override { ++woken; }
  int woken = 0;
};

// The pipe's other end is open in every process that comes of a command, and in no other.
class Descendants {
 public:
  Descendants() {
    if (::pipe(ends_.data()) != 0) throw std::runtime_error("no pipe");
    ::fcntl(ends_[0], F_SETFD, FD_CLOEXEC);
  }
  ~Descendants() {
    ::close(ends_[0]);
    begun();
  }
  Descendants(const Descendants&) = delete;
  Descendants& operator=(const Descendants&) = delete;

  // The file to which one of them may write.
  [[nodiscard]] std::string file() const { return "/proc/self/fd/" + std::to_string(ends_[1]); }
  // To be called once the command has been started.
  void begun() {
    if (ends_[1] >= 0) ::close(ends_[1]);
    ends_[1] = -1;
  }
  // Waits until one of them has written.
  [[nodiscard]] bool wrote() const { return next() == 1; }
  // Waits until all are gone; a process in vain, for ten seconds.
  [[nodiscard]] bool gone() const { return next() == 0; }

 private:
  // What read() answers; -1 after ten seconds.
  [[nodiscard]] ssize_t next() const {
    pollfd polled{.fd = ends_[0], .events = POLLIN, .revents = 0};
    if (::poll(&polled, 1, 10'000) != 1) return -1;
    char byte = 0;
    return ::read(ends_[0], &byte, 1);
  }

  std::array<int, 2> ends_{-1, -1};
};

class PasswordCommand : public testing::Test {
 protected:
  PasswordCommand() {
    uv_loop_init(&loop_);
    commands_.emplace(&loop_, PasswordCommands::Limits{}, [this] { return now_; });
    char name[] = "/tmp/pgveil-command-XXXXXX";
    folder_ = ::mkdtemp(name);
  }
  ~PasswordCommand() override {
    commands_.reset();
    uv_run(&loop_, UV_RUN_DEFAULT);
    EXPECT_EQ(uv_loop_close(&loop_), 0) << "a handle is left";
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
    EXPECT_EQ(errno, ECHILD);
    std::filesystem::remove_all(folder_);
  }

  static PasswordCommandConfig shell(const std::string& script) {
    return {.argv = {"/bin/sh", "-c", script}, .timeout = 60s, .ttl = 1min};
  }
  auto request(const PasswordCommandConfig& config) { return commands_->request(config, target_, waiter_); }
  // Until nothing is running.
  void run() { uv_run(&loop_, UV_RUN_DEFAULT); }

  // The answer in the end: a password, or "! " and the error.
  static std::string text_of(const PasswordRequest& request) {
    if (!request.answer()) return "pending";
    const PasswordAnswer& answer = *request.answer();
    return answer ? std::string((*answer)->view()) : "! " + answer.error();
  }
  std::string answer_of(const PasswordCommandConfig& config) {
    const auto asked = request(config);
    run();
    return text_of(*asked);
  }

  // A command that leaves a line in a file for each time that it is run, and prints how many there are.
  [[nodiscard]] PasswordCommandConfig counting() const {
    return shell("echo run >> " + folder_ + "/runs; grep -c run " + folder_ + "/runs");
  }

  uv_loop_t loop_{};
  PasswordCommands::Clock::time_point now_{};
  std::optional<PasswordCommands> commands_;
  PasswordTarget target_{.host = "db.example.com", .port = 5433, .user = "app", .database = "ledger"};
  Waiter waiter_;
  std::string folder_;
};

struct Run {
  const char* name;
  std::string script;
  std::string answer;
};
void PrintTo(const Run& row, std::ostream* out) {
  *out << row.name;
}

class PasswordCommandRun : public PasswordCommand, public testing::WithParamInterface<Run> {};

TEST_P(PasswordCommandRun, HasItsAnswer) {
  EXPECT_EQ(answer_of(shell(GetParam().script)), GetParam().answer);
  EXPECT_EQ(waiter_.woken, 1);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Passwords, PasswordCommandRun, testing::Values(
    Run{"Line", "echo sesame", "sesame"},
    Run{"NoLineFeed", "printf sesame", "sesame"},
    Run{"CarriageReturn", R"(printf 'sesame\r\n')", "sesame"},
    Run{"FirstOfSeveralLines", R"(printf 'sesame\npoppy\n')", "sesame"},
    Run{"SpacesAround", R"(printf ' sesame \n')", " sesame "},
    Run{"CarriageReturnWithin", R"(printf 'ses\rame\r\r\n')", "ses\rame\r"},
    Run{"InPieces", "printf ses; sleep 0; printf ame", "sesame"},
    Run{"AsLongAsAToken", "head -c 65000 /dev/zero | tr '\\0' x", std::string(65'000, 'x')},
    Run{"BesideErrors", "echo warning >&2; echo sesame", "sesame"},
    Run{"ByAFileName", "echo sesame > /dev/stdout", "sesame"}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(Failures, PasswordCommandRun, testing::Values(
    Run{"Status", "echo sesame; exit 3", "! password_command exited with status 3"},
    Run{"Signal", "echo sesame; kill -TERM $$", "! password_command was ended by signal 15"},
    Run{"NoOutput", ":", "! password_command printed no password"},
    Run{"EmptyLine", "echo; echo sesame", "! password_command printed no password"},
    Run{"CarriageReturnAlone", R"(printf '\r\n')", "! password_command printed no password"},
    Run{"NulByte", R"(printf 'ses\0ame')", "! password_command printed a NUL byte"},
    Run{"TooMuch", "head -c 65001 /dev/zero | tr '\\0' x", "! password_command printed more than 65000 bytes"},
    Run{"WithoutEnd", "yes sesame", "! password_command printed more than 65000 bytes"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST_F(PasswordCommand, ThatIsNotThereIsAnErrorAtOnce) {
  const auto asked = request({.argv = {"/nonexistent/token"}, .timeout = 60s, .ttl = {}});
  EXPECT_EQ(text_of(*asked), "! password_command cannot be started: no such file or directory");
  EXPECT_EQ(waiter_.woken, 0);
}

TEST_F(PasswordCommand, IsLookedForInPath) {
  EXPECT_EQ(answer_of({.argv = {"printf", "sesame"}, .timeout = 60s, .ttl = {}}), "sesame");
}

TEST_F(PasswordCommand, HasTheLoginInItsArgumentsUnreadByAnyShell) {
  target_.user = "$(id) 'x";
  EXPECT_EQ(
      answer_of({.argv = {"/bin/echo", "%h:%p", "u=%u", "%d", "%%u", "", "*"}, .timeout = 60s, .ttl = {}}),
      "db.example.com:5433 u=$(id) 'x ledger %u  *");
}

TEST_F(PasswordCommand, HasTheLoginInItsEnvironment) {
  ASSERT_EQ(::setenv("PGUSER", "postgres", 1), 0);
  ASSERT_EQ(::setenv("PGVEIL_TEST_INHERITED", "yes", 1), 0);
  const std::string script =
      R"(echo $PGHOST $PGPORT $PGUSER $PGDATABASE $PGVEIL_TEST_INHERITED $(env | grep -c ^PGUSER=))";
  EXPECT_EQ(answer_of(shell(script)), "db.example.com 5433 app ledger yes 1");
  ::unsetenv("PGUSER");
  ::unsetenv("PGVEIL_TEST_INHERITED");
}

TEST_F(PasswordCommand, ReadsNothingFromUs) {
  EXPECT_EQ(answer_of(shell("cat; readlink /proc/self/fd/0")), "/dev/null");
}

TEST_F(PasswordCommand, DoesNotInheritOurSignals) {
  ::signal(SIGPIPE, SIG_IGN);
  EXPECT_EQ(answer_of(shell("grep SigIgn /proc/self/status | cut -f 2")), "0000000000000000");
  ::signal(SIGPIPE, SIG_DFL);
}

TEST_F(PasswordCommand, GetsNoOptionFromAClient) {
  const PasswordCommandConfig by_user{.argv = {"echo", "%u"}, .timeout = 60s, .ttl = {}};
  const PasswordCommandConfig by_database{.argv = {"echo", "%d"}, .timeout = 60s, .ttl = {}};
  const PasswordCommandConfig within{.argv = {"echo", "--user=%u", "x%d"}, .timeout = 60s, .ttl = {}};
  const std::string refused =
      R"(! password_command is not run for a user or database whose name begins with "-")";
  target_.user = "-e";
  EXPECT_EQ(answer_of(by_user), refused);
  EXPECT_EQ(answer_of(within), "--user=-e xledger");
  target_.user = "app";
  target_.database = "--help";
  EXPECT_EQ(answer_of(by_database), refused);
  EXPECT_EQ(answer_of(within), "--user=app x--help");
}

// Ends a command that waits for it, while the loop is busy with other news.
void release(uv_async_t* async) {
  const auto& folder = *static_cast<const std::string*>(async->data);
  std::ofstream(folder + "/go") << "\n";
  pid_t released = 0;
  std::ifstream(folder + "/pid") >> released;
  siginfo_t ended{};
  EXPECT_EQ(::waitid(P_PID, static_cast<id_t>(released), &ended, WEXITED | WNOWAIT), 0);
}

// libuv reaps it with another, before it knows that there is something to read.
TEST_F(PasswordCommand, IsReadToTheEndWhereItEndsBesideAnother) {
  ASSERT_EQ(::mkfifo((folder_ + "/go").c_str(), 0600), 0);
  const auto late = request(shell("cd " + folder_ + "; echo $$ > pid; read line < go; echo sesame"));
  const auto early = request(shell("exit 3"));
  siginfo_t ended{};
  ASSERT_EQ(::waitid(P_ALL, 0, &ended, WEXITED | WNOWAIT), 0);

  Handle<uv_async_t> news(new uv_async_t);
  uv_async_init(&loop_, news.get(), release);
  news->data = &folder_;
  uv_async_send(news.get());
  uv_run(&loop_, UV_RUN_ONCE);
  news.reset();
  run();
  EXPECT_EQ(text_of(*early), "! password_command exited with status 3");
  EXPECT_EQ(text_of(*late), "sesame");
}

// --- its time ---

TEST_F(PasswordCommand, IsEndedWithAllThatItStartedWhereItTakesTooLong) {
  Descendants descendants;
  auto config = shell("sleep 100 & sleep 100");
  config.timeout = 30ms;
  const auto asked = request(config);
  descendants.begun();
  run();
  EXPECT_EQ(text_of(*asked), "! password_command was not done within 30ms");
  EXPECT_EQ(waiter_.woken, 1);
  EXPECT_TRUE(descendants.gone());
}

TEST_F(PasswordCommand, MayLeaveSomethingInTheBackground) {
  Descendants descendants;
  const auto asked = request(shell("sleep 100 & echo $!"));
  descendants.begun();
  run();
  const pid_t left = std::stoi(text_of(*asked));
  EXPECT_EQ(::kill(left, SIGKILL), 0) << "it was ended with the command";
  EXPECT_TRUE(descendants.gone());
}

TEST_F(PasswordCommand, IsEndedWithAllThatItStartedOnceNobodyWaits) {
  Descendants descendants;
  const auto config = shell("(printf r > " + descendants.file() + "; exec sleep 100) & sleep 100");
  auto one = request(config);
  auto other = request(config);
  descendants.begun();
  ASSERT_TRUE(descendants.wrote());
  one.reset();
  other.reset();
  run();
  EXPECT_TRUE(descendants.gone());
  EXPECT_EQ(waiter_.woken, 0);
}

TEST_F(PasswordCommand, GoesOnForThoseWhoStillWait) {
  auto one = request(counting());
  const auto other = request(counting());
  one.reset();
  run();
  EXPECT_EQ(text_of(*other), "1");
  EXPECT_EQ(waiter_.woken, 1);
}

TEST_F(PasswordCommand, IsEndedWithItsOwner) {
  Descendants descendants;
  const auto asked = request(shell("(printf r > " + descendants.file() + "; exec sleep 100) & sleep 100"));
  descendants.begun();
  ASSERT_TRUE(descendants.wrote());
  commands_.reset();
  EXPECT_EQ(text_of(*asked), "! password_command was ended with pgveil");
  EXPECT_EQ(waiter_.woken, 0);
  run();
  EXPECT_TRUE(descendants.gone());
}

// --- sharing ---

TEST_F(PasswordCommand, IsSharedWhileItRuns) {
  const auto one = request(counting());
  const auto other = request(counting());
  run();
  EXPECT_EQ(text_of(*one), "1");
  EXPECT_EQ(text_of(*other), "1");
  EXPECT_EQ(waiter_.woken, 2);
}

TEST_F(PasswordCommand, IsSharedWhileItRunsWhereNothingIsKept) {
  auto config = counting();
  config.ttl = 0ms;
  const auto one = request(config);
  const auto other = request(config);
  run();
  EXPECT_EQ(text_of(*other), "1");
  EXPECT_EQ(answer_of(config), "2");
}

TEST_F(PasswordCommand, IsNotRunAgainBeforeItsTime) {
  EXPECT_EQ(answer_of(counting()), "1");
  now_ += 59'999ms;
  const auto asked = request(counting());
  EXPECT_EQ(text_of(*asked), "1");
  EXPECT_EQ(waiter_.woken, 1);
  now_ += 1ms;
  EXPECT_EQ(answer_of(counting()), "2");
}

TEST_F(PasswordCommand, IsNotSharedByDifferentLogins) {
  const PasswordTarget app = target_;
  std::vector<PasswordTarget> targets(5, app);
  targets[1].host = "db2.example.com";
  targets[2].port = 5434;
  targets[3].user = "report";
  targets[4].database = "archive";
  std::vector<std::unique_ptr<PasswordRequest>> asked;
  asked.reserve(targets.size());
  const auto config = shell("echo $PGHOST $PGPORT $PGUSER $PGDATABASE");
  for (const auto& target : targets) asked.push_back(commands_->request(config, target, waiter_));
  run();
  EXPECT_EQ(text_of(*asked[0]), "db.example.com 5433 app ledger");
  EXPECT_EQ(text_of(*asked[1]), "db2.example.com 5433 app ledger");
  EXPECT_EQ(text_of(*asked[2]), "db.example.com 5434 app ledger");
  EXPECT_EQ(text_of(*asked[3]), "db.example.com 5433 report ledger");
  EXPECT_EQ(text_of(*asked[4]), "db.example.com 5433 app archive");
}

TEST_F(PasswordCommand, IsRunAgainAfterAFailure) {
  const auto config = shell("echo run >> " + folder_ + "/runs; grep -c run " + folder_ + "/runs; test -e " +
                            folder_ + "/ready");
  EXPECT_EQ(answer_of(config), "! password_command exited with status 1");
  std::ofstream(folder_ + "/ready") << "";
  EXPECT_EQ(answer_of(config), "2");
}

TEST_F(PasswordCommand, IsRunAgainWhereItsPasswordWasRefused) {
  const auto refused = request(counting());
  run();
  commands_->forget(counting(), target_, ***refused->answer());
  EXPECT_EQ(answer_of(counting()), "2");
  // Another session that was refused with the same one.
  commands_->forget(counting(), target_, ***refused->answer());
  EXPECT_EQ(answer_of(counting()), "2");
}

TEST_F(PasswordCommand, LosesThePasswordThatWouldExpireFirst) {
  commands_.emplace(&loop_, PasswordCommands::Limits{.running = 1, .cached = 2}, [this] { return now_; });
  for (const char* user : {"a", "b", "c"}) {
    target_.user = user;
    answer_of(counting());
    now_ += 1ms;
  }
  target_.user = "b";
  EXPECT_EQ(answer_of(counting()), "2");
  target_.user = "a";
  EXPECT_EQ(answer_of(counting()), "4");
}

TEST_F(PasswordCommand, IsNotRunBesideTooManyOthers) {
  commands_.emplace(&loop_, PasswordCommands::Limits{.running = 1, .cached = 2}, [this] { return now_; });
  const auto first = request(shell("echo sesame"));
  EXPECT_EQ(text_of(*request(shell("echo poppy"))),
            "! password_command is not run: the limit of 1 running commands is reached");
  run();
  EXPECT_EQ(text_of(*first), "sesame");
  EXPECT_EQ(answer_of(shell("echo poppy")), "poppy");
}

// A session that is woken may let go of another's.
class LettingGo final : public Wakeable {
 public:
  void wake() override { other.reset(); }
  std::unique_ptr<PasswordRequest> other;
};

TEST_F(PasswordCommand, MayBeLetGoOfByOneWhoIsWoken) {
  LettingGo one;
  LettingGo other;
  other.other = commands_->request(counting(), target_, one);
  one.other = commands_->request(counting(), target_, other);
  run();
  // Whoever was woken first has its own answer, and the other was never woken.
  EXPECT_NE(one.other == nullptr, other.other == nullptr);
}

}  // namespace
}  // namespace pgveil::proxy
