#include "proxy/diagnostics/audit.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "proxy/base/descriptor.h"
#include "tests/support/captured_log.h"

namespace pgveil::proxy {
namespace {

using test::CapturedLog;
using test::json_log;
using test::text_log;

// A directory that is removed with its files.
class Folder {
 public:
  Folder() {
    std::string name = testing::TempDir() + "audit-XXXXXX";
    path_ = ::mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  [[nodiscard]] std::string path(const std::string& name) const { return path_ + '/' + name; }

 private:
  std::string path_;
};

// Returns the lines of a file, without the time of each record.
std::vector<std::string> records_of(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> records;
  for (std::string line; std::getline(file, line);)
    records.push_back(std::regex_replace(line, std::regex(R"re("time":"[^"]*")re"), "TIME"));
  return records;
}

AuditConfig to_file(const std::string& path) {
  return {.target = AuditTarget::file, .file = path, .socket = ""};
}

// The socket of a log daemon.
class Daemon {
 public:
  explicit Daemon(const std::string& path) : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, path.size());
    ::unlink(path.c_str());
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  [[nodiscard]] std::string receive() const {
    std::vector<char> datagram(std::size_t{1} << 20U);
    const ssize_t size = ::recv(socket_.get(), datagram.data(), datagram.size(), 0);
    return {datagram.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
  }
  // Returns a datagram that consists of a descriptor, as the content of its file.
  [[nodiscard]] std::string receive_file() const {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{};
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    EXPECT_EQ(::recvmsg(socket_.get(), &message, 0), 0);
    const cmsghdr* const header = CMSG_FIRSTHDR(&message);
    if (header == nullptr) return "no descriptor";
    int number = -1;
    std::copy_n(CMSG_DATA(header), sizeof number, reinterpret_cast<unsigned char*>(&number));
    const Descriptor file(number);
    std::string content(static_cast<std::size_t>(::lseek(file.get(), 0, SEEK_END)), '\0');
    EXPECT_EQ(::pread(file.get(), content.data(), content.size(), 0), static_cast<ssize_t>(content.size()));
    return content;
  }

 private:
  Descriptor socket_;
};

void write_record() {
  AuditRecord(AuditOutcome::refused, "7f3a-2b").add("user", "ann").add("map", "").add_flag("pq", true);
}

std::string line_of(const LogConfig& config, AuditOutcome outcome) {
  CapturedLog log(config);
  AuditRecord(outcome, "7f3a-2b").add("user", "ann").add("map", "").add("n", 7).add_flag("pq", true);
  const auto lines = log.lines();
  return lines.size() == 1 ? lines[0] : std::to_string(lines.size()) + " lines";
}

TEST(AuditRecord, IsALineOfLevelDebugInText) {
  EXPECT_EQ(line_of(text_log, AuditOutcome::accepted), "0 lines");
  EXPECT_EQ(line_of({.level = LogLevel::debug}, AuditOutcome::accepted),
            "D audit session=7f3a-2b outcome=accepted user=ann n=7 pq=yes");
}

TEST(AuditRecord, IsALineOfLevelInfoInJson) {
  EXPECT_EQ(
      line_of(json_log, AuditOutcome::refused),
      R"({"level":"info","event":"audit","schema":1,"session":"7f3a-2b","outcome":"refused","user":"ann",)"
      R"("map":null,"n":7,"pq":true})");
  EXPECT_EQ(line_of({.level = LogLevel::warning, .format = LogFormat::json}, AuditOutcome::refused),
            "0 lines");
}

// The log has session_closed for it.
TEST(AuditRecord, OfTheEndOfASessionIsNotInTheLog) {
  EXPECT_EQ(line_of(json_log, AuditOutcome::ended), "0 lines");
}

TEST(AuditFile, HasARecordWhateverTheLevelAndTheFormatOfTheLog) {
  const Folder folder;
  CapturedLog log({.level = LogLevel::error}, to_file(folder.path("audit.json")));
  write_record();
  EXPECT_TRUE(log.lines().empty());
  EXPECT_EQ(records_of(folder.path("audit.json")),
            std::vector<std::string>{
                R"({TIME,"schema":1,"event":"audit","session":"7f3a-2b","outcome":"refused","user":"ann",)"
                R"("map":null,"pq":true})"});
}

// Another thread may be at a record when the audit ends.
TEST(AuditFile, MayEndBeforeARecordIsComplete) {
  const Folder folder;
  {
    CapturedLog log(text_log, to_file(folder.path("audit.json")));
    AuditRecord record(AuditOutcome::accepted, "1");
    EXPECT_TRUE(log.lines().empty());
    record.add("key", "value");
    EXPECT_TRUE(audit_has_room());
  }
  EXPECT_TRUE(records_of(folder.path("audit.json")).empty());
}

TEST(AuditFile, TakesNoNameThatWouldBreakARecord) {
  const Folder folder;
  CapturedLog log(text_log, to_file(folder.path("audit.json")));
  AuditRecord(AuditOutcome::refused, "1").add("user", "\"}\n{\xff\xe2\x80\xae\xc3");
  static_cast<void>(log.lines());
  const auto records = records_of(folder.path("audit.json"));
  ASSERT_EQ(records.size(), 1U);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, R"("user":"\"}\u000a{\u00ff\u202e\u00c3"})", records[0]);
}

TEST(AuditFile, ThatWasRenamedGetsNoMoreRecords) {
  const Folder folder;
  CapturedLog log(text_log, to_file(folder.path("audit.json")));
  write_record();
  while (records_of(folder.path("audit.json")).empty()) std::this_thread::yield();
  std::filesystem::rename(folder.path("audit.json"), folder.path("old"));
  write_record();
  static_cast<void>(log.lines());
  EXPECT_EQ(records_of(folder.path("old")).size(), 1U);
  EXPECT_EQ(records_of(folder.path("audit.json")).size(), 1U);
}

TEST(AuditFile, ThatCannotBeOpenedIsAnError) {
  CapturedLog log(text_log);
  const auto error = start_audit(to_file("/dev/null/audit.json"));
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->setting, "audit.file");
  EXPECT_EQ(error->message, "\"/dev/null/audit.json\" cannot be opened for writing: Not a directory");
}

// The queue is the same for every target: a file that takes nothing stands for all.
AuditConfig to_full_disk(AuditFailure fail) {
  return {.target = AuditTarget::file, .file = "/dev/full", .socket = "", .fail = fail};
}

TEST(AuditThatFailsClosed, HasNoRoomUntilRecordsAreWritten) {
  CapturedLog log(text_log, to_full_disk(AuditFailure::closed));
  EXPECT_TRUE(audit_has_room());
  const auto lost_before = lost_audit_records();
  write_record();
  while (audit_has_room()) std::this_thread::yield();
  EXPECT_EQ(lost_audit_records(), lost_before);
  const auto lines = log.lines();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_TRUE(lines[0].starts_with("E audit_blocked detail=\"No space left on device\"")) << lines[0];
  EXPECT_EQ(lines[1], "E audit_records_lost lines=1 detail=\"No space left on device\"");
  EXPECT_EQ(lost_audit_records(), lost_before + 1);
}

TEST(AuditThatFailsOpen, HasRoomAndCountsWhatIsLost) {
  CapturedLog log(text_log, to_full_disk(AuditFailure::open));
  const auto lost_before = lost_audit_records();
  write_record();
  while (lost_audit_records() == lost_before) std::this_thread::yield();
  EXPECT_TRUE(audit_has_room());
  EXPECT_EQ(log.lines(),
            std::vector<std::string>{"E audit_records_lost lines=1 detail=\"No space left on device\""});
}

TEST(AuditThatFailsClosed, HasRoomOnceAReloadHasItFailOpen) {
  CapturedLog log(text_log, to_full_disk(AuditFailure::closed));
  write_record();
  while (audit_has_room()) std::this_thread::yield();
  change_audit(to_full_disk(AuditFailure::open));
  EXPECT_TRUE(audit_has_room());
}

TEST(AuditOfStrangers, HasWhatIsOmittedAsANumber) {
  const Folder folder;
  AuditConfig config = to_file(folder.path("audit.json"));
  config.stranger_rate = {.count = 2, .interval = std::chrono::hours(1)};
  CapturedLog log(text_log, config);
  int callbacks = 0;
  on_omitted_record([&callbacks] { ++callbacks; });
  int written = 0;
  for (int stranger = 0; stranger < 7; ++stranger) written += may_audit_stranger() ? 1 : 0;
  EXPECT_EQ(written, 2);
  EXPECT_EQ(callbacks, 1);
  write_omitted_records();
  write_omitted_records();
  static_cast<void>(may_audit_stranger());
  EXPECT_EQ(callbacks, 2);
  on_omitted_record(nullptr);
  static_cast<void>(log.lines());  // the end of the audit has the rest written
  EXPECT_EQ(records_of(folder.path("audit.json")),
            (std::vector<std::string>{
                R"({TIME,"schema":1,"event":"audit","session":null,"outcome":"omitted","omitted":5})",
                R"({TIME,"schema":1,"event":"audit","session":null,"outcome":"omitted","omitted":1})"}));
}

AuditConfig to_socket(AuditTarget target, const std::string& path) {
  return {.target = target, .file = "", .socket = path, .syslog_facility = SyslogFacility::local3};
}

TEST(AuditInSyslog, IsADatagramOfRfc5424) {
  const Folder folder;
  const Daemon daemon(folder.path("log"));
  CapturedLog log(text_log, to_socket(AuditTarget::syslog, folder.path("log")));
  write_record();
  const std::regex form(
      R"re(<156>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) [-A-Za-z0-9._]+ pgveil (\d+) audit - \{"time":"(.*?)",.*\})re");
  const std::string datagram = daemon.receive();
  std::smatch match;
  ASSERT_TRUE(std::regex_match(datagram, match, form)) << datagram;
  EXPECT_EQ(match[1], match[3]);
  EXPECT_EQ(match[2], std::to_string(::getpid()));
  AuditRecord(AuditOutcome::accepted, "1").add("user", "ann");
  EXPECT_TRUE(daemon.receive().starts_with("<158>1 "));
}

TEST(AuditInTheJournal, IsAnEntryOfFields) {
  const Folder folder;
  const Daemon daemon(folder.path("socket"));
  CapturedLog log(text_log, to_socket(AuditTarget::journald, folder.path("socket")));
  write_record();
  const std::string entry = daemon.receive();
  EXPECT_TRUE(
      entry.starts_with("SYSLOG_IDENTIFIER=pgveil\nSYSLOG_FACILITY=19\nPRIORITY=4\nMESSAGE={\"time\":\""))
      << entry;
  EXPECT_TRUE(entry.ends_with("\"pq\":true}\n")) << entry;
}

TEST(AuditInTheJournal, PassesAnEntryThatIsTooLargeAsAFile) {
  const Folder folder;
  const Daemon daemon(folder.path("socket"));
  CapturedLog log(text_log, to_socket(AuditTarget::journald, folder.path("socket")));
  AuditRecord(AuditOutcome::accepted, "1").add_json(",\"a\":\"" + std::string(2'000'000, 'x') + '"');
  const std::string entry = daemon.receive_file();
  EXPECT_TRUE(entry.starts_with("SYSLOG_IDENTIFIER=pgveil\n"));
  EXPECT_GT(entry.size(), 2'000'000U);
}

// It would keep all later records out otherwise.
TEST(AuditInSyslog, LosesARecordThatIsTooLargeForADatagram) {
  const Folder folder;
  const Daemon daemon(folder.path("log"));
  CapturedLog log(text_log, to_socket(AuditTarget::syslog, folder.path("log")));
  const auto lost_before = lost_audit_records();
  AuditRecord(AuditOutcome::accepted, "1").add_json(",\"a\":\"" + std::string(2'000'000, 'x') + '"');
  write_record();
  EXPECT_TRUE(daemon.receive().starts_with("<156>1 "));
  EXPECT_EQ(lost_audit_records(), lost_before + 1);
}

// 200,000 bytes and the header of a message.
TEST(AuditInSyslog, HasTheLongestRecordThatASessionCanHave) {
  const Folder folder;
  const Daemon daemon(folder.path("log"));
  CapturedLog log(text_log, to_socket(AuditTarget::syslog, folder.path("log")));
  AuditRecord(AuditOutcome::accepted, "1").add_json(",\"a\":\"" + std::string(200'000, 'x') + '"');
  EXPECT_GT(daemon.receive().size(), 200'000U);
}

TEST(AuditRecord, CutsLongValues) {
  const Folder folder;
  CapturedLog log(text_log, to_file(folder.path("audit.json")));
  AuditRecord(AuditOutcome::accepted, "1").add("user", std::string(5'000, 'x'));
  static_cast<void>(log.lines());
  EXPECT_EQ(records_of(folder.path("audit.json")).at(0),
            R"({TIME,"schema":1,"event":"audit","session":"1","outcome":"accepted","user":")" +
                std::string(kMaxAuditValueBytes, 'x') + R"(..."})");
}

TEST(AuditInSyslog, ReachesADaemonThatWasStartedAgain) {
  const Folder folder;
  std::optional<Daemon> daemon(folder.path("log"));
  CapturedLog log(text_log, to_socket(AuditTarget::syslog, folder.path("log")));
  write_record();
  EXPECT_FALSE(daemon->receive().empty());
  daemon.reset();
  write_record();
  while (audit_has_room()) std::this_thread::yield();
  daemon.emplace(folder.path("log"));
  EXPECT_FALSE(daemon->receive().empty());
  while (!audit_has_room()) std::this_thread::yield();
}

TEST(AuditInSyslog, NeedsADaemon) {
  const Folder folder;
  const auto error = socket_without_daemon(to_socket(AuditTarget::syslog, folder.path("log")));
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->setting, "audit.socket");
  EXPECT_EQ(error->message,
            "nothing receives records at \"" + folder.path("log") + "\": No such file or directory");
}

TEST(AuditOnStandardOutput, IsNotMixedWithTheLog) {
  const Descriptor output(::dup(STDOUT_FILENO));
  CapturedLog log(text_log);
  ::dup2(STDERR_FILENO, STDOUT_FILENO);
  const auto error = start_audit({.target = AuditTarget::standard_output, .file = "", .socket = ""});
  ::dup2(output.get(), STDOUT_FILENO);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->setting, "audit.target");
}

}  // namespace
}  // namespace pgveil::proxy
