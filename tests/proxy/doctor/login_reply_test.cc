#include "proxy/doctor/login_reply.h"

#include <gtest/gtest.h>

#include "proxy/doctor/login_steps.h"
#include "tests/support/wire.h"

namespace pgveil::proxy {
namespace {

using test::operator""_wire;
using Code = protocol::AuthenticationCode;

const LoginRequest login_of_ann{.user = "ann", .database = ""};

TEST(ALoginReply, NeedsTheWholeMessage) {
  EXPECT_FALSE(read_login_reply("'R' 00000008 0000"_wire));
  EXPECT_FALSE(read_login_reply({}));
}

TEST(ALoginReply, HasTheMechanismsInTheOrderOfTheServer) {
  const auto reply =
      read_login_reply("'R' 0000002a 0000000a 'SCRAM-SHA-256-PLUS'00 'SCRAM-SHA-256'00 00"_wire);
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->asked, Code::sasl);
  EXPECT_EQ(reply->mechanisms, (std::vector<std::string>{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}));
}

TEST(ALoginReply, ComesAfterNotices) {
  const auto reply = read_login_reply("'N' 00000008 'Mx'00 00 'R' 00000008 00000003"_wire);
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->asked, Code::cleartext_password);
}

TEST(ALoginReply, MayBeARefusal) {
  const auto reply = read_login_reply("'E' 0000000f 'C28000'00 'Mx'00 00"_wire);
  ASSERT_TRUE(reply && reply->refusal);
  EXPECT_EQ(reply->refusal->sqlstate, "28000");
}

TEST(ALoginReply, HasNoTextOfTheServerInPlaceOfAnSqlstate) {
  for (const auto& [sqlstate, shown] :
       {std::pair("0A00Z", "0A00Z"), std::pair("call this number", "unknown"), std::pair("28000 ", "unknown"),
        std::pair("2800a", "unknown"), std::pair("2800", "unknown"), std::pair("", "unknown")}) {
    protocol::Bytes bytes;
    protocol::encode_error_response(
        {.severity = "FATAL", .sqlstate = sqlstate, .message = "no", .detail = {}, .hint = {}}, bytes);
    const auto reply = read_login_reply(bytes);
    ASSERT_TRUE(reply && reply->refusal);
    EXPECT_EQ(reply->refusal->sqlstate, shown);
  }
}

TEST(ALoginReply, IsAnErrorIfItIsNotOneOfAPostgresqlServer) {
  for (const auto& bytes :
       {"'HTTP/1.1 400'"_wire, "'R' 00000003"_wire, "'Z' 00000005 'I'"_wire, "'R' 00000005 00"_wire}) {
    const auto reply = read_login_reply(bytes);
    ASSERT_TRUE(reply);
    EXPECT_FALSE(reply->error.empty());
  }
}

LoginReply asked(Code code) {
  return {.asked = code, .mechanisms = {}, .refusal = std::nullopt, .error = {}};
}

LoginReply refused(const std::string& sqlstate) {
  return {.asked = std::nullopt,
          .mechanisms = {},
          .refusal =
              protocol::ErrorFields{
                  .severity = "FATAL", .sqlstate = sqlstate, .message = "no", .detail = {}, .hint = {}},
          .error = {}};
}

TEST(ALoginStep, PassesWithScram) {
  auto reply = asked(Code::sasl);
  reply.mechanisms = {"SCRAM-SHA-256"};
  const Step step = login_step(reply, login_of_ann);
  EXPECT_EQ(step.outcome, Outcome::passed);
  EXPECT_EQ(step.text, "SASL: SCRAM-SHA-256; channel binding is not offered");
}

TEST(ALoginStep, FailsWithMd5CleartextAndTrust) {
  for (const Code code : {Code::md5_password, Code::cleartext_password, Code::ok}) {
    const Step step = login_step(asked(code), login_of_ann);
    EXPECT_EQ(step.outcome, Outcome::failed);
    ASSERT_TRUE(step.finding);
    EXPECT_EQ(step.finding->side, Side::server);
  }
}

TEST(ALoginStep, PassesIfACertificateIsEnough) {
  auto reply = asked(Code::ok);
  reply.certificate_was_sent = true;
  EXPECT_EQ(login_step(reply, login_of_ann).outcome, Outcome::passed);
}

TEST(ALoginStep, HasTheMessageOfTheServerAsItsCause) {
  const Step step = login_step(refused("28000"), login_of_ann);
  ASSERT_TRUE(step.finding);
  EXPECT_EQ(step.finding->cause, "The server refuses the login of user \"ann\": no.");
  EXPECT_NE(step.finding->remedy.find("hostssl"), std::string::npos);
}

TEST(ALoginStep, NamesTheOptionOfADatabaseThatDoesNotExist) {
  const Step step = login_step(refused("3D000"), login_of_ann);
  ASSERT_TRUE(step.finding);
  EXPECT_EQ(step.finding->side, Side::client);
  EXPECT_NE(step.finding->remedy.find("--dbname"), std::string::npos);
}

TEST(APlaintextStep, FailsIfTheServerAsksForAnything) {
  for (const Code code : {Code::ok, Code::md5_password, Code::sasl})
    EXPECT_EQ(plaintext_step(asked(code), login_of_ann, Responder::postgresql).outcome, Outcome::failed);
}

TEST(APlaintextStep, PassesOnlyWithTheSqlstateOfPgHba) {
  EXPECT_EQ(plaintext_step(refused("28000"), login_of_ann, Responder::postgresql).outcome, Outcome::passed);
  EXPECT_EQ(plaintext_step(refused("53300"), login_of_ann, Responder::postgresql).outcome, Outcome::noted);
}

TEST(APlaintextStep, OfPgbouncerNamesItsSetting) {
  const Step step = plaintext_step(asked(Code::sasl), login_of_ann, Responder::pgbouncer);
  ASSERT_TRUE(step.finding);
  EXPECT_NE(step.finding->remedy.find("client_tls_sslmode"), std::string::npos);
  auto reply = refused("08P01");
  reply.refusal->message = "SSL required";
  EXPECT_EQ(plaintext_step(reply, login_of_ann, Responder::pgbouncer).outcome, Outcome::passed);
  EXPECT_EQ(plaintext_step(reply, login_of_ann, Responder::postgresql).outcome, Outcome::noted);
}

TEST(ALoginReply, HasTheNewestVersionOfAnOlderServer) {
  const auto reply = read_login_reply("'v' 0000000c 00030000 00000000 'R' 00000008 00000003"_wire);
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->newest_version, protocol::kProtocol30);
  EXPECT_EQ(reply->asked, Code::cleartext_password);
}

TEST(ALoginStep, HasTheHashOfChannelBinding) {
  auto reply = asked(Code::sasl);
  reply.mechanisms = {"SCRAM-SHA-256-PLUS"};
  reply.end_point_bytes = 48;
  EXPECT_NE(login_step(reply, login_of_ann).text.find("SHA-384"), std::string::npos);
  reply.end_point_bytes = 0;
  EXPECT_NE(login_step(reply, login_of_ann).text.find("not defined"), std::string::npos);
}

TEST(AProtocolStep, PassesOnlyIfTheVersionIsAccepted) {
  const auto of_version_3_0 = asked(Code::sasl);
  EXPECT_EQ(protocol_step(of_version_3_0, asked(Code::sasl)).outcome, Outcome::passed);
  EXPECT_EQ(protocol_step(of_version_3_0, refused("28000")).outcome, Outcome::passed);
  EXPECT_EQ(protocol_step(of_version_3_0, refused("0A000")).outcome, Outcome::noted);
  EXPECT_EQ(protocol_step(of_version_3_0, refused("08P01")).outcome, Outcome::noted);
  auto reply = asked(Code::sasl);
  reply.newest_version = protocol::kProtocol30;
  EXPECT_EQ(protocol_step(of_version_3_0, reply).outcome, Outcome::noted);
  EXPECT_NE(protocol_step(of_version_3_0, reply).text.find("3.0"), std::string::npos);
}

LoginReply unanswered() {
  return {.asked = std::nullopt, .mechanisms = {}, .refusal = std::nullopt, .error = "no answer in time"};
}

TEST(AProtocolStep, IsKnownOnlyIfTheOtherVersionIsAnswered) {
  EXPECT_EQ(protocol_step(asked(Code::sasl), unanswered()).text,
            "3.2 is not accepted: no answer in time; use max_protocol_version=3.0");
  EXPECT_EQ(protocol_step(unanswered(), unanswered()).text, "not known: no answer in time");
}

// A session would end, too.
TEST(ALoginStep, FailsWithoutAnAnswer) {
  const Step step = login_step(unanswered(), login_of_ann);
  EXPECT_EQ(step.outcome, Outcome::failed);
  ASSERT_TRUE(step.finding);
  EXPECT_EQ(step.finding->cause, "The login of user \"ann\" got no usable answer: no answer in time.");
  auto reply = unanswered();
  reply.error = "The server has no TLS.";
  EXPECT_EQ(login_step(reply, login_of_ann).finding->cause, "The server has no TLS.");
}

TEST(APlaintextStep, IsNotKnownWithoutAConnection) {
  const Step step = plaintext_step(std::nullopt, login_of_ann, std::nullopt);
  EXPECT_EQ(step.outcome, Outcome::noted);
  EXPECT_TRUE(step.text.starts_with("not known: ")) << step.text;
}

TEST(ASessionStep, NamesTheMethodAndTheSourceOfThePassword) {
  LoginRequest login{.user = "ann", .database = ""};
  login.password_source = "PGPASSWORD";
  const Step step = session_step(std::nullopt, "SCRAM-SHA-256-PLUS", login, {});
  EXPECT_EQ(step.outcome, Outcome::passed);
  EXPECT_EQ(step.text,
            "logged in with SCRAM-SHA-256-PLUS and the password of PGPASSWORD, bound to the certificate");
  EXPECT_EQ(session_step(std::nullopt, "none", login, {}).text, "logged in without a password");
}

TEST(ASessionStep, SaysWhyNoPasswordIsKnown) {
  const auto reply = asked(Code::sasl);
  EXPECT_EQ(no_session_step(reply, login_of_ann).outcome, Outcome::noted);
  EXPECT_NE(no_session_step(reply, login_of_ann).text.find("--passfile"), std::string::npos);
  LoginRequest login{.user = "ann", .database = ""};
  login.password_source = "/x";
  EXPECT_NE(no_session_step(reply, login).text.find("no line of /x"), std::string::npos);
  login.password_source.clear();
  login.has_password_command = true;
  EXPECT_NE(no_session_step(reply, login).text.find("password_command"), std::string::npos);
  EXPECT_NE(no_session_step(refused("28000"), login).text.find("refused"), std::string::npos);
  EXPECT_NE(no_session_step(unanswered(), login).text.find("no usable answer"), std::string::npos);
}

TEST(ASessionStep, SaysWhereAWrongPasswordComesFrom) {
  LoginRequest login{.user = "ann", .database = ""};
  login.password_source = "/home/ann/.pgpass";
  const TrialLogin::Failure failure{.ending = std::nullopt, .refusal = refused("28P01").refusal, .error = {}};
  const Step step = session_step(failure, "none", login, {});
  ASSERT_TRUE(step.finding);
  EXPECT_EQ(step.finding->side, Side::client);
  EXPECT_NE(step.finding->remedy.find("/home/ann/.pgpass"), std::string::npos);
  login.password_side = Side::pgveil;
  EXPECT_EQ(session_step(failure, "none", login, {}).finding->side, Side::pgveil);
}

TEST(ASessionStep, HasACauseForEachKindOfFailure) {
  const TrialLogin::Failure lost{
      .ending = std::nullopt, .refusal = std::nullopt, .error = "no answer in time"};
  const TrialLogin::Failure ended{
      .ending = Ending{.reason = Reason::upstream_signature_wrong, .detail = "It is not the server."},
      .refusal = std::nullopt,
      .error = {}};
  for (const auto& failure : {lost, ended}) {
    const Step step = session_step(failure, "none", login_of_ann, {});
    ASSERT_TRUE(step.finding);
    EXPECT_TRUE(step.finding->cause.ends_with('.'));
    EXPECT_TRUE(step.finding->remedy.ends_with('.'));
  }
}

// Nobody knows who has written it (CVE-2024-10977).
TEST(APlaintextStep, DoesNotShowTheMessageOfAnUnverifiedServer) {
  auto reply = refused("28000");
  reply.refusal->message = "call this number";
  EXPECT_EQ(plaintext_step(reply, login_of_ann, Responder::postgresql).text.find("call"), std::string::npos);
}

}  // namespace
}  // namespace pgveil::proxy
