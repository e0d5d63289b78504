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

TEST(APlaintextStep, FailsIfTheServerAsksForAnything) {
  for (const Code code : {Code::ok, Code::md5_password, Code::sasl})
    EXPECT_EQ(plaintext_step(asked(code), login_of_ann).outcome, Outcome::failed);
}

TEST(APlaintextStep, PassesOnlyWithTheSqlstateOfPgHba) {
  EXPECT_EQ(plaintext_step(refused("28000"), login_of_ann).outcome, Outcome::passed);
  EXPECT_EQ(plaintext_step(refused("53300"), login_of_ann).outcome, Outcome::noted);
}

// Nobody knows who has written it (CVE-2024-10977).
TEST(APlaintextStep, DoesNotShowTheMessageOfAnUnverifiedServer) {
  auto reply = refused("28000");
  reply.refusal->message = "call this number";
  EXPECT_EQ(plaintext_step(reply, login_of_ann).text.find("call"), std::string::npos);
}

}  // namespace
}  // namespace pgveil::proxy
