#include "proxy/session/session_record.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <regex>
#include <string>
#include <vector>

#include "proxy/diagnostics/audit.h"
#include "tests/support/audit_file.h"
#include "tests/support/captured_log.h"
#include "tests/support/failing_memory.h"

namespace pgveil::proxy {
namespace {

using test::AuditFile;
using test::CapturedLog;

const LogConfig text_log{};
const LogConfig debug_log{.level = LogLevel::debug};
const LogConfig json_log{.format = LogFormat::json};

std::shared_ptr<const tls::Established> with_version(const std::string& version) {
  tls::Established tls;
  tls.version = version;
  return std::make_shared<const tls::Established>(std::move(tls));
}

std::shared_ptr<const tls::Established> with_group(const std::string& group) {
  tls::Established tls;
  tls.version = "TLSv1.3";
  tls.cipher = "TLS_AES_256_GCM_SHA384";
  tls.group = group;
  tls.post_quantum = group == "X25519MLKEM768";
  return std::make_shared<const tls::Established>(std::move(tls));
}

// Returns the record of a typical session.
Record record() {
  Record record;
  record.session = "7f3a-2b";
  record.worker = 2;
  record.client = "10.0.3.7:51544";
  record.listener = "10.0.3.1:5432";
  record.user = record.requested_user = "app";
  record.database = "ledger";
  record.upstream = "primary";
  record.server = "10.0.3.12:5432";
  record.rule = "/etc/pgveil/pg_hba.conf:7";
  record.method = protocol::HbaMethod::scram_sha_256;
  record.server_tls = with_group("X25519MLKEM768");
  return record;
}

constexpr Totals kTotals{.traffic = {.to_client = {.bytes = 35'210}, .to_server = {.bytes = 2'100}}};
const Ending no_place{.reason = Reason::too_many_sessions,
                      .detail = "All 10 sessions are in use.",
                      .hint = "Raise limits.max_sessions, or close sessions."};

// Returns the lines of the log, without durations, which differ from run to run.
std::vector<std::string> lines_of(CapturedLog& log) {
  auto lines = log.lines();
  for (auto& line : lines) line = std::regex_replace(line, std::regex(R"((duration_ms"?[=:])\d+)"), "$1N");
  return lines;
}

std::vector<std::string> established_session(const LogConfig& config, const Record& record,
                                             const Ending& ending = {}) {
  CapturedLog log(config);
  const EstablishedRecord established = keep(record);
  log_session_started(record, established);
  log_session_closed(established, kTotals, ending);
  return lines_of(log);
}

// Returns the lines of a typical session that is refused before it has a server.
std::vector<std::string> refused_session(const LogConfig& config) {
  Record refused = record();
  refused.server.clear();
  refused.server_tls.reset();
  CapturedLog log(config);
  log_session_closed(refused, kTotals, no_place, "authorize");
  return lines_of(log);
}

TEST(SessionLog, AsTextHasWhatPeopleReadFirst) {
  const auto lines = established_session(text_log, record());
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0],
            "I session_started session=7f3a-2b client=10.0.3.7:51544 user=app database=ledger "
            "server=10.0.3.12:5432 tls=TLSv1.3 upstream=primary rule=/etc/pgveil/pg_hba.conf:7");
  EXPECT_EQ(lines[1],
            "I session_closed session=7f3a-2b reason=client_closed client=10.0.3.7:51544 user=app "
            "database=ledger server=10.0.3.12:5432 tls=TLSv1.3 duration_ms=N sent=35210 received=2100");
}

TEST(SessionLog, AsTextFitsAWideTerminal) {
  constexpr std::size_t kColumns = 200;
  constexpr std::size_t kTime = std::string_view("2026-11-24T02:23:54.188Z ").size();
  for (const auto& line : established_session(text_log, record()))
    EXPECT_LE(kTime + line.size(), kColumns) << line;
}

TEST(SessionLog, AsTextNamesTheUpstreamInPlaceOfAUnixSocket) {
  Record local = record();
  local.server = "unix:/run/postgresql/.s.PGSQL.5432";
  local.server_tls.reset();
  local.client_tls = with_version("TLSv1.3");
  local.identity = "CN=billing,O=Example";
  const auto lines = established_session(text_log, local);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(
      lines[0],
      "I session_started session=7f3a-2b client=10.0.3.7:51544 identity=\"CN=billing,O=Example\" user=app "
      "database=ledger upstream=primary client_tls=TLSv1.3 rule=/etc/pgveil/pg_hba.conf:7");
  EXPECT_EQ(lines[1],
            "I session_closed session=7f3a-2b reason=client_closed client=10.0.3.7:51544 "
            "identity=\"CN=billing,O=Example\" user=app database=ledger upstream=primary client_tls=TLSv1.3 "
            "duration_ms=N sent=35210 received=2100");
}

TEST(SessionLog, AsTextNamesTheMapThatGaveTheUser) {
  Record mapped = record();
  mapped.map_line = "/etc/pgveil/pg_ident.conf:3";
  const auto lines = established_session(text_log, mapped);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_TRUE(lines[0].ends_with(" rule=/etc/pgveil/pg_hba.conf:7 map=/etc/pgveil/pg_ident.conf:3"))
      << lines[0];
  EXPECT_EQ(lines[1].find(" map="), std::string::npos) << lines[1];
}

TEST(SessionLog, AsTextSaysWhatWentWrongAndWhatToDo) {
  EXPECT_EQ(refused_session(text_log),
            (std::vector<std::string>{
                "W session_closed session=7f3a-2b reason=too_many_sessions phase=authorize "
                "client=10.0.3.7:51544 user=app database=ledger upstream=primary duration_ms=N "
                "rule=/etc/pgveil/pg_hba.conf:7 sqlstate=53300 "
                "message=\"sorry, too many clients already\" detail=\"All 10 sessions are in use.\" "
                "hint=\"Raise limits.max_sessions, or close sessions.\""}));
}

TEST(SessionLog, AsTextHasEveryKeyAtLevelDebug) {
  const auto lines = established_session(debug_log, record());
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[2],
            "D session_record session=7f3a-2b reason=client_closed phase=relay client=10.0.3.7:51544 "
            "listener=10.0.3.1:5432 worker=2 user=app database=ledger upstream=primary "
            "server=10.0.3.12:5432 preconnected=no tls=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 "
            "group=X25519MLKEM768 post_quantum=yes sent_bytes=35210 received_bytes=2100 duration_ms=N");
}

TEST(SessionLog, AsJsonHasEveryKeyAlways) {
  EXPECT_EQ(refused_session(json_log),
            (std::vector<std::string>{
                R"({"level":"warning","event":"session_closed","session":"7f3a-2b",)"
                R"("reason":"too_many_sessions","phase":"authorize","client":"10.0.3.7:51544",)"
                R"("listener":"10.0.3.1:5432","worker":2,"identity":null,"user":"app",)"
                R"("database":"ledger","upstream":"primary","server":null,"preconnected":false,)"
                R"("client_tls":null,"client_group":null,"client_post_quantum":null,"tls":null,)"
                R"("cipher":null,"group":null,"post_quantum":null,"server_fingerprint":null,)"
                R"("server_not_after":null,"sent_bytes":35210,"received_bytes":2100,"duration_ms":N,)"
                R"("sqlstate":"53300","message":"sorry, too many clients already",)"
                R"("detail":"All 10 sessions are in use.",)"
                R"("hint":"Raise limits.max_sessions, or close sessions.","earlier_attempts":null})"}));
}

// For example after a failure to watch its socket.
TEST(SessionLog, AsJsonHasTheSameKeysForASessionThatCouldNotBegin) {
  Record nothing;
  nothing.worker = 1;
  nothing.client = "10.0.3.7:51544";
  CapturedLog log(json_log);
  log_session_closed(nothing, {}, {.reason = Reason::out_of_memory}, "");
  EXPECT_EQ(
      lines_of(log),
      std::vector<std::string>{
          R"({"level":"error","event":"session_closed","session":null,"reason":"out_of_memory","phase":null,)"
          R"("client":"10.0.3.7:51544","listener":null,"worker":1,"identity":null,"user":null,)"
          R"("database":null,"upstream":null,"server":null,"preconnected":false,"client_tls":null,)"
          R"("client_group":null,"client_post_quantum":null,"tls":null,"cipher":null,"group":null,)"
          R"("post_quantum":null,"server_fingerprint":null,"server_not_after":null,"sent_bytes":0,)"
          R"("received_bytes":0,"duration_ms":N,"sqlstate":"53200","message":"out of memory","detail":null,)"
          R"("hint":null,"earlier_attempts":null})"});
}

TEST(SessionLog, AsJsonHasTheSameKeysForAnEstablishedSession) {
  const auto lines = established_session(json_log, record());
  ASSERT_EQ(lines.size(), 2U);
  for (const char* part :
       {R"("preconnected":false)", R"("post_quantum":true)", R"("client_post_quantum":null)",
        R"("sqlstate":null,"message":null,"detail":null,"hint":null,"earlier_attempts":null})"})
    EXPECT_NE(lines[1].find(part), std::string::npos) << part << " in " << lines[1];
}

TEST(SessionLog, HasNoLineAtTheStartIfTheSettingIsOff) {
  for (LogConfig config : {text_log, json_log}) {
    config.session_start = false;
    const auto lines = established_session(config, record());
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_NE(lines[0].find("session_closed"), std::string::npos) << lines[0];
  }
}

TEST(SessionLog, NamesTheAddressesTriedBeforeAtTheEndToo) {
  Record second = record();
  second.earlier_attempts = "10.0.3.13:5432: Connection refused";
  for (const auto& line : established_session(text_log, second))
    EXPECT_TRUE(line.ends_with(R"( earlier_attempts="10.0.3.13:5432: Connection refused")")) << line;
}

TEST(SessionLog, HasNoMessageForARegularEnd) {
  const auto lines = established_session(text_log, record(), {.reason = Reason::shutting_down});
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_TRUE(lines[1].ends_with(" received=2100 sqlstate=57P01")) << lines[1];
}

TEST(SessionLog, CutsLongTexts) {
  CapturedLog log(text_log);
  log_session_closed(record(), {}, {.reason = Reason::tls_failed, .detail = std::string(9'000, 'x')},
                     "accept_tls");
  const auto lines = lines_of(log);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_NE(lines[0].find(' ' + ("detail=" + std::string(4'000, 'x')) + "..."), std::string::npos);
}

TEST(SessionLog, DoesNotSayThatAKeyExchangeHasNoGroup) {
  Record rsa = record();
  rsa.server_tls = with_group("-");
  EXPECT_EQ(established_session(debug_log, rsa)[2].find(" group="), std::string::npos);
}

TEST(SessionAudit, HasARecordOfTheEndOfAnEstablishedSession) {
  const AuditFile file;
  CapturedLog log(text_log, file.config());
  Record mapped = record();
  mapped.system_user = "spiffe://prod/app";
  EstablishedRecord established = keep(mapped);
  established.server_sqlstate = "57P01";
  const Totals totals{.traffic = {.to_client = {.bytes = 35'210}, .to_server = {.bytes = 2'100}},
                      .duration = std::chrono::milliseconds(1'250)};
  log_audit_end(established, totals, {.reason = Reason::server_closed, .detail = "The server said so."});
  log_audit_end(established, totals, {});  // once only
  static_cast<void>(log.lines());
  EXPECT_EQ(
      file.records(),
      std::vector<std::string>{
          R"("schema":1,"event":"audit","session":"7f3a-2b","outcome":"ended","reason":"server_closed",)"
          R"("client":"10.0.3.7:51544","proxy":null,"listener":"10.0.3.1:5432",)"
          R"("system_user":"spiffe://prod/app","user":"app","database":"ledger","upstream":"primary",)"
          R"("server":"10.0.3.12:5432","duration_ms":1250,"sent_bytes":35210,"received_bytes":2100,)"
          R"("detail":"The server said so.","sqlstate":"57P01"})"});
}

TEST(SessionAudit, KeepsNothingForTheEndWithoutATarget) {
  CapturedLog log(json_log);
  EXPECT_EQ(keep(record()).audit, "");
}

TEST(SessionAudit, LimitsTheRecordsOfStrangersOnly) {
  const AuditFile file;
  AuditConfig config = file.config();
  config.stranger_rate = {.count = 1, .interval = std::chrono::hours(1)};
  CapturedLog log(text_log, config);
  Record known = record();
  known.identity = "app";  // the user of the process at the other end of a Unix socket
  for (int i = 0; i < 3; ++i) {
    log_audit(known, &no_place);
    log_audit(record(), &no_place);
    log_audit(record(), nullptr);
  }
  static_cast<void>(log.lines());
  const auto records = file.records();
  const auto with = [&records](const std::string& part) {
    return std::count_if(records.begin(), records.end(),
                         [&part](const auto& each) { return each.find(part) != std::string::npos; });
  };
  EXPECT_EQ(with(R"("outcome":"accepted")"), 3);
  EXPECT_EQ(with(R"("outcome":"refused")"), 4);
  EXPECT_EQ(with(R"("outcome":"omitted","omitted":2})"), 1);
}

TEST(SessionAudit, HasTheNumberOfOmittedRecordsOnceThereIsMemory) {
  const AuditFile file;
  AuditConfig config = file.config();
  config.stranger_rate = {.count = 1, .interval = std::chrono::hours(2)};
  CapturedLog log(text_log, config);
  int callbacks = 0;
  on_omitted_record([&callbacks] { ++callbacks; });
  const auto lost_before = lost_audit_records();
  for (int i = 0; i < 4; ++i) log_audit(record(), &no_place);
  EXPECT_EQ(callbacks, 1);
  {
    const test::FailingAllocation failing(0);
    write_omitted_records();
  }
  EXPECT_EQ(callbacks, 2);
  write_omitted_records();
  on_omitted_record(nullptr);
  static_cast<void>(log.lines());
  EXPECT_EQ(lost_audit_records(), lost_before);
  ASSERT_EQ(file.records().size(), 2U);
  EXPECT_TRUE(file.records()[1].ends_with(R"("outcome":"omitted","omitted":3})"));
}

TEST(SessionAudit, HasNoRecordForWhichThereIsTooLittleMemory) {
  const AuditFile file;
  CapturedLog log(text_log, file.config());
  Record large = record();
  large.user = std::string(10'000, 'x');
  const auto lost_before = lost_audit_records();
  std::uint64_t failed = 0;
  bool has_failed = true;
  for (int allocations = 0; has_failed; ++allocations) {
    const test::FailingAllocation failing(allocations);
    try {
      log_audit(large, nullptr);
      has_failed = failing.has_failed();  // the queue of records had no memory
      failed += has_failed ? 1 : 0;
    } catch (const std::bad_alloc&) {
      ++failed;
    }
  }
  static_cast<void>(log.lines());
  EXPECT_GT(failed, 2U);
  EXPECT_EQ(lost_audit_records(), lost_before + failed);
  for (const auto& each : file.records()) EXPECT_TRUE(each.ends_with(R"("sqlstate":null})"));
}

// A client that is trusted may have a certificate with long names, and any client may ask for long names. A datagram of syslog
// has a limit.
TEST(SessionAudit, HasRecordsOfLimitedLength) {
  const AuditFile file;
  CapturedLog log(text_log, file.config());
  const std::string long_text(10'000, '\x01');  // each byte takes six in JSON
  Record longest = record();
  tls::PeerCertificate certificate;
  certificate.subject = certificate.issuer = long_text;
  certificate.dns_names = {long_text};
  tls::Established tls;
  tls.peer = certificate;
  longest.client_tls = std::make_shared<const tls::Established>(std::move(tls));
  longest.system_user = longest.requested_user = longest.user = longest.database = long_text;
  const Ending refusal{.reason = Reason::login_failed, .detail = long_text};
  log_audit(longest, &refusal);
  EstablishedRecord established = keep(longest);
  log_audit_end(established, {}, refusal);
  static_cast<void>(log.lines());
  const auto records = file.records();
  ASSERT_EQ(records.size(), 2U);
  for (const auto& each : records) {
    EXPECT_LT(each.size(), 200'000U);
    EXPECT_NE(each.find(R"(\u0001...")"), std::string::npos);  // the detail, cut
    EXPECT_TRUE(each.ends_with('}'));
  }
}

TEST(SessionAudit, SaysThatACertificateWasNotVerified) {
  const AuditFile file;
  CapturedLog log(text_log, file.config());
  Record refused = record();
  auto certificate = std::make_shared<tls::PeerCertificate>();
  certificate->subject = "CN=eve";
  refused.refused_certificate = std::move(certificate);
  log_audit(refused, &no_place);
  log_audit(record(), &no_place);
  static_cast<void>(log.lines());
  const auto records = file.records();
  ASSERT_EQ(records.size(), 2U);
  EXPECT_NE(records[0].find(R"("certificate_verified":false)"), std::string::npos) << records[0];
  EXPECT_NE(records[1].find(R"("certificate_verified":null)"), std::string::npos) << records[1];
}

}  // namespace
}  // namespace pgveil::proxy
