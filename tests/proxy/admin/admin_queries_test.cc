#include "proxy/admin/admin_queries.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "protocol/startup.h"
#include "tests/support/wire.h"

namespace pgveil::proxy {
namespace {

using protocol::Bytes;
using test::operator""_wire;
using test::operator+;
using Progress = AdminQueries::Progress;

class AdminQueriesTest : public testing::Test {
 protected:
  AdminQueriesTest() {
    protocol::encode_startup_message(
        {.parameters = {{"user", "alice"}, {"database", "pgveil"}, {"pgveil.session", "ab-1"}}}, in_);
    EXPECT_EQ(take(), Progress::answered);
    out_.clear();
  }

  // Takes one message of what was sent.
  Progress take() {
    protocol::ByteReader reader(in_);
    const Progress progress = queries_.take(reader, out_);
    in_.erase(in_.begin(), in_.end() - static_cast<std::ptrdiff_t>(reader.remaining()));
    return progress;
  }

  // Returns the types of the messages that answer `bytes`.
  std::string answer(const Bytes& bytes) {
    in_.insert(in_.end(), bytes.begin(), bytes.end());
    while ((!in_.empty() || queries_.has_statements()) && take() == Progress::answered) {
    }
    std::string types;
    protocol::ByteReader reader(out_);
    for (;;) {
      const auto message = protocol::decode_message(reader, 1'000'000);
      if (!message || !message->has_value()) break;
      types += (*message)->type;
      last_error_ =
          (*message)->type == 'E' ? protocol::decode_error_fields((*message)->body)->sqlstate : last_error_;
    }
    EXPECT_TRUE(reader.empty());
    out_.clear();
    return types;
  }

  int reloads_ = 0;
  std::string terminated_;
  AdminStatements statements_{{
      .status =
          [] {
            return nlohmann::ordered_json{{"certificates",
                                           {{{"kind", "ca"},
                                             {"subject", "CN=one"},
                                             {"file", "one.crt"},
                                             {"not_after", "2026-01-31T12:00:00Z"},
                                             {"days_left", 3}},
                                            {{"kind", "ca"},
                                             {"subject", "CN=two"},
                                             {"file", "two.crt"},
                                             {"not_after", "2026-01-31T12:00:00Z"},
                                             {"days_left", nullptr}}}}};
          },
      .sessions =
          [] {
            return nlohmann::ordered_json{{"sessions", nlohmann::ordered_json::array()}};
          },
      .snapshot = [] { return std::make_shared<const Snapshot>(); },
      .is_draining = [] { return false; },
      .reload = [this] { ++reloads_; },
      .shut_down = [] {},
      .terminate =
          [this](std::string_view session) {
            terminated_ = session;
            return session == "ab-2";
          },
  }};
  AdminQueries queries_{statements_};
  Bytes in_;
  Bytes out_;
  std::string last_error_;
};

TEST_F(AdminQueriesTest, AnswersOneStatement) {
  EXPECT_EQ(answer("'Q' 00000016 'SHOW certificates'00"_wire), "TDDCZ");
}

TEST_F(AdminQueriesTest, AnswersSeveralStatements) {
  EXPECT_EQ(answer("'Q' 00000026 'SHOW SESSIONS ; SHOW certificates'00"_wire), "TCTDDCZ");
}

TEST_F(AdminQueriesTest, StopsAtTheFirstError) {
  EXPECT_EQ(answer("'Q' 00000010 'foo; RELOAD'00"_wire), "EZ");
  EXPECT_EQ(last_error_, "42601");
  EXPECT_EQ(reloads_, 0);
}

TEST_F(AdminQueriesTest, AnswersAnEmptyQuery) {
  EXPECT_EQ(answer("'Q' 00000007 ' ;'00"_wire), "IZ");
}

TEST_F(AdminQueriesTest, GivesOrders) {
  EXPECT_EQ(answer("'Q' 0000000c 'reload;'00"_wire), "CZ");
  EXPECT_EQ(reloads_, 1);
}

TEST_F(AdminQueriesTest, TerminatesOnlySessionsThatThereAre) {
  EXPECT_EQ(answer("'Q' 00000013 'TERMINATE ab-2'00"_wire), "CZ");
  EXPECT_EQ(terminated_, "ab-2");
  EXPECT_EQ(answer("'Q' 00000013 'TERMINATE ab-3'00"_wire), "EZ");
  EXPECT_EQ(last_error_, "42704");
}

const auto kParse = "'P' 00000019 00 'SHOW certificates'00 0000"_wire;
const auto kBind = "'B' 0000000c 00 00 0000 0000 0000"_wire;
const auto kDescribe = "'D' 00000006 'P'00"_wire;
const auto kExecute = "'E' 00000009 00 00000000"_wire;
const auto kSync = "'S' 00000004"_wire;

TEST_F(AdminQueriesTest, SpeaksTheExtendedProtocol) {
  EXPECT_EQ(answer(kParse + kBind + kDescribe + kExecute + kSync), "12TDDCZ");
  EXPECT_EQ(answer(kParse + "'D' 00000006 'S'00"_wire + kSync), "1tTZ");
}

TEST_F(AdminQueriesTest, SendsAsManyRowsAsThePortalIsAskedFor) {
  const auto one_row = "'E' 00000009 00 00000001"_wire;
  EXPECT_EQ(answer(kParse + kBind + one_row + one_row + kSync), "12DsDCZ");
}

TEST_F(AdminQueriesTest, DescribesAnOrderWithoutGivingIt) {
  const auto parse = "'P' 0000000e 00 'RELOAD'00 0000"_wire;
  EXPECT_EQ(answer(parse + "'D' 00000006 'S'00"_wire + kBind + kDescribe + kSync), "1tn2nZ");
  EXPECT_EQ(reloads_, 0);
  EXPECT_EQ(answer(parse + kBind + kExecute + kSync), "12CZ");
  EXPECT_EQ(reloads_, 1);
}

TEST_F(AdminQueriesTest, SkipsToSyncAfterAnError) {
  EXPECT_EQ(answer(kBind + kDescribe + kExecute + kSync), "EZ");
  EXPECT_EQ(last_error_, "26000");
  EXPECT_EQ(answer(kParse + kSync), "1Z");
}

TEST_F(AdminQueriesTest, RefusesParameters) {
  EXPECT_EQ(answer(kParse + "'B' 00000011 00 00 0000 0001 00000001 '1' 0000"_wire + kSync), "1EZ");
  EXPECT_EQ(last_error_, "0A000");
}

TEST_F(AdminQueriesTest, RefusesMalformedMessages) {
  for (const auto& message : {"'B' 00000004"_wire, "'P' 00000005 'x'"_wire, "'D' 00000004"_wire,
                              "'E' 00000005 00"_wire, "'C' 00000004"_wire}) {
    EXPECT_EQ(answer(message + kSync), "EZ");
    EXPECT_EQ(last_error_, "08P01");
  }
}

TEST_F(AdminQueriesTest, IgnoresTheRestOfACopyThatHasFailed) {
  EXPECT_EQ(answer("'Q' 00000016 'COPY x FROM STDIN'00"_wire), "EZ");
  EXPECT_EQ(answer("'d' 00000005 'x' 'c' 00000004 'f' 00000005 00"_wire), "");
  EXPECT_EQ(answer("'Q' 00000011 'SHOW SESSIONS'00"_wire).back(), 'Z');
}

TEST_F(AdminQueriesTest, RefusesAFunctionCallAndGoesOn) {
  EXPECT_EQ(answer("'F' 00000004"_wire), "EZ");
  EXPECT_EQ(last_error_, "0A000");
}

TEST_F(AdminQueriesTest, EndsAtTerminate) {
  in_ = "'X' 00000004"_wire;
  EXPECT_EQ(take(), Progress::ended);
  EXPECT_TRUE(out_.empty());
}

TEST_F(AdminQueriesTest, EndsWithAMessageIfTheProtocolIsViolated) {
  for (const auto& message : {"'Q' 00010001"_wire, "'?' 00000004"_wire}) {
    out_.clear();
    in_ = message;
    EXPECT_EQ(take(), Progress::ended);
    in_.clear();
    EXPECT_EQ(answer({}), "E");
    EXPECT_EQ(last_error_, "08P01");
  }
}

TEST_F(AdminQueriesTest, RunsOneStatementAtATime) {
  in_ = "'Q' 00000026 'SHOW SESSIONS ; SHOW certificates'00"_wire;
  EXPECT_EQ(take(), Progress::answered);
  EXPECT_TRUE(queries_.has_statements());
  EXPECT_TRUE(out_.empty());
  EXPECT_EQ(take(), Progress::answered);
  EXPECT_TRUE(queries_.has_statements());
  EXPECT_EQ(take(), Progress::answered);
  EXPECT_FALSE(queries_.has_statements());
  EXPECT_EQ(answer({}), "TCTDDCZ");
}

// Returns a Query with this text.
Bytes query(const std::string& text) {
  Bytes bytes{'Q'};
  protocol::ByteWriter writer(bytes);
  writer.write_uint32(static_cast<std::uint32_t>(text.size()) + 5);
  writer.write_c_string(text);
  return bytes;
}

TEST_F(AdminQueriesTest, RefusesManyStatementsInOneQuery) {
  std::string text;
  for (int i = 0; i < 20; ++i) text += "RELOAD;";
  EXPECT_EQ(answer(query(text)), std::string(20, 'C') + 'Z');
  EXPECT_EQ(answer(query(text + "RELOAD")), "EZ");
  EXPECT_EQ(last_error_, "54000");
  EXPECT_EQ(reloads_, 20);
}

TEST_F(AdminQueriesTest, ReadsCommentsAndQuotes) {
  EXPECT_EQ(answer(query("-- ping")), "IZ");
  EXPECT_EQ(answer(query("/* a; b */ RELOAD -- at once; or later")), "CZ");
  EXPECT_EQ(answer(query("SET application_name = 'a;b'")), "CZ");
  EXPECT_EQ(answer(query("/* a /* b */ ; RELOAD; */")), "IZ");
  EXPECT_EQ(answer(query("SET x = $a$; RELOAD; $a$")), "CZ");
  EXPECT_EQ(reloads_, 1);
}

TEST_F(AdminQueriesTest, AcceptsWhatDriversAndPoolsSend) {
  for (const char* statement : {"SET x = 1", "RESET ALL", "DISCARD ALL", "DEALLOCATE ALL"})
    EXPECT_EQ(answer(query(statement)), "CZ") << statement;
  EXPECT_EQ(answer(query("SHOW transaction_read_only")), "TDCZ");
}

TEST_F(AdminQueriesTest, LimitsWhatAClientMayKeep) {
  const std::string long_text(1'100, 'x');
  Bytes parse{'P'};
  protocol::ByteWriter writer(parse);
  writer.write_uint32(static_cast<std::uint32_t>(long_text.size()) + 8);
  writer.write_c_string("");
  writer.write_c_string(long_text);
  writer.write_uint8(0);
  writer.write_uint8(0);
  EXPECT_EQ(answer(parse + kSync), "EZ");
  EXPECT_EQ(last_error_, "54000");
  Bytes many = kParse;
  for (char name = 'a'; name < 'a' + 11; ++name)
    many = many + "'B' 0000000d"_wire + Bytes{static_cast<std::uint8_t>(name)} + "00 00 0000 0000 0000"_wire;
  EXPECT_EQ(answer(many + kSync), '1' + std::string(10, '2') + "EZ");
  EXPECT_EQ(last_error_, "54000");
}

TEST_F(AdminQueriesTest, SendsNumbersInBinaryOnRequest) {
  answer(kParse + "'B' 0000000e 00 00 0000 0000 0001 0001"_wire);
  in_ = kExecute;
  EXPECT_EQ(take(), Progress::answered);
  protocol::ByteReader reader(out_);
  const auto row = protocol::decode_message(reader, 1'000);
  ASSERT_TRUE(row && row->has_value());
  const auto body = (*row)->body;
  const auto days = "00000008 0000000000000003"_wire;  // days_left, the last column
  EXPECT_EQ(Bytes(body.end() - static_cast<std::ptrdiff_t>(days.size()), body.end()), days);
}

class AdminLoginTest : public AdminQueriesTest {
 protected:
  // Returns the types of the messages that answer a StartupMessage with this version and parameter.
  std::string log_in(protocol::ProtocolVersion version, const std::string& parameter) {
    AdminQueries queries(statements_);
    protocol::StartupMessage startup{.version = version,
                                     .parameters = {{"user", "bob"}, {"database", "pgveil"}}};
    if (!parameter.empty()) startup.set(parameter, "on");
    Bytes in;
    protocol::encode_startup_message(startup, in);
    protocol::ByteReader reader(in);
    progress_ = queries.take(reader, out_);
    return answer({});
  }
  Progress progress_ = Progress::waiting;
};

TEST_F(AdminLoginTest, TellsTheParametersOfTheServer) {
  EXPECT_EQ(log_in(protocol::kProtocol30, ""), "RSSSSSSSSSSSZ");
  EXPECT_EQ(progress_, Progress::answered);
}

TEST_F(AdminLoginTest, NegotiatesTheVersionAndTheOptionsOfTheProtocol) {
  EXPECT_EQ(log_in(protocol::make_protocol_version(3, 9999), "").substr(0, 2), "vR");
  EXPECT_EQ(log_in(protocol::kProtocol32, "_pq_.x").substr(0, 2), "vR");
  EXPECT_EQ(log_in(protocol::kProtocol32, "").substr(0, 2), "RS");
}

TEST_F(AdminQueriesTest, ForgetsStatementsThatAreClosed) {
  EXPECT_EQ(answer(kParse + "'C' 00000006 'S'00"_wire + kBind + kSync), "13EZ");
}

}  // namespace
}  // namespace pgveil::proxy
