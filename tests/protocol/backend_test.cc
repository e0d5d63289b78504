#include "protocol/backend.h"

#include <gtest/gtest.h>

#include "protocol/message.h"
#include "tests/support/wire.h"

namespace pgveil::protocol {
namespace {

using test::repeated;
using test::operator""_wire;
using test::operator+;

// Returns the body of the only message in `bytes`.
ByteView body_of(const Bytes& bytes, char type) {
  ByteReader in(bytes);
  const auto message = decode_message(in, 1'000'000);
  if (!message || !*message || !in.empty() || (*message)->type != type) {
    ADD_FAILURE() << "not one message of type " << type;
    return {};
  }
  return (*message)->body;
}

TEST(Authentication, IsItsCodeAndItsData) {
  const auto body = "00000005 'salt'"_wire;
  const auto decoded = decode_authentication(body);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->code, AuthenticationCode::md5_password);
  EXPECT_EQ(as_text(decoded->data), "salt");
}

TEST(Authentication, MayHaveNoData) {
  const auto body = "00000000"_wire;
  const auto decoded = decode_authentication(body);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->code, AuthenticationCode::ok);
  EXPECT_TRUE(decoded->data.empty());
}

TEST(Authentication, KeepsACodeThatItDoesNotKnow) {
  const auto body = "0000002a"_wire;
  EXPECT_EQ(decode_authentication(body)->code, AuthenticationCode{42});
}

TEST(Authentication, IsRefusedWithoutAWholeCode) {
  for (const auto& body : {""_wire, "000000"_wire}) {
    const auto decoded = decode_authentication(body);
    ASSERT_FALSE(decoded.has_value());
    EXPECT_EQ(decoded.error(), DecodeError::bad_layout);
  }
}

TEST(SaslMechanisms, ComeInTheServersOrder) {
  const auto data = "'SCRAM-SHA-256-PLUS'00 'SCRAM-SHA-256'00 00"_wire;
  const auto decoded = decode_sasl_mechanisms(data);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(*decoded, (std::vector{kScramSha256Plus, kScramSha256}));
}

TEST(SaslMechanisms, MayBeNone) {
  const auto data = "00"_wire;
  EXPECT_EQ(decode_sasl_mechanisms(data)->size(), 0u);
}

TEST(SaslMechanisms, AreRefusedWhereTheirListDoesNotEndWithTheMessage) {
  for (const auto& data :
       {""_wire, "'SCRAM'"_wire, "'SCRAM'00"_wire, "'SCRAM'00 00 00"_wire, "00 'SCRAM'00 00"_wire}) {
    const auto decoded = decode_sasl_mechanisms(data);
    ASSERT_FALSE(decoded.has_value());
    EXPECT_EQ(decoded.error(), DecodeError::bad_layout);
  }
}

TEST(SaslMechanisms, AreWrittenAsTheServerWritesThem) {
  Bytes out;
  encode_authentication_sasl({kScramSha256}, out);
  EXPECT_EQ(out, "'R' 00000017 0000000a 'SCRAM-SHA-256'00 00"_wire);
}

TEST(BackendKeyData, IsTheCancelRequestThatReachesTheSession) {
  const auto decoded = decode_backend_key_data("0000002a deadbeef"_wire);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->process_id, 42u);
  EXPECT_EQ(decoded->key, "deadbeef"_wire);
}

TEST(BackendKeyData, HasAKeyOf4To256Bytes) {
  const auto process_id = "0000002a"_wire;
  EXPECT_FALSE(decode_backend_key_data(process_id + repeated(1, 3)).has_value());
  EXPECT_TRUE(decode_backend_key_data(process_id + repeated(1, 4)).has_value());
  EXPECT_TRUE(decode_backend_key_data(process_id + repeated(1, 256)).has_value());
  EXPECT_FALSE(decode_backend_key_data(process_id + repeated(1, 257)).has_value());
}

TEST(BackendKeyData, IsRefusedWithoutAWholeProcessId) {
  EXPECT_EQ(decode_backend_key_data("000000"_wire).error(), DecodeError::bad_length);
}

// --- ErrorResponse ---

TEST(ErrorFields, AreReadAmongFieldsThatNobodyNeeds) {
  const auto fields = decode_error_fields(
      "'SFATAL'00 'VFATAL'00 'C28P01'00 'Mno'00 'Dwhy'00 'Hhow'00 'Fauth.c'00 'L326'00 'zunknown'00 00"_wire);
  ASSERT_TRUE(fields.has_value());
  EXPECT_EQ(fields->severity, "FATAL");
  EXPECT_EQ(fields->sqlstate, "28P01");
  EXPECT_EQ(fields->message, "no");
  EXPECT_EQ(fields->detail, "why");
  EXPECT_EQ(fields->hint, "how");
}

TEST(ErrorFields, MayAllBeAbsent) {
  const auto fields = decode_error_fields("00"_wire);
  ASSERT_TRUE(fields.has_value());
  EXPECT_EQ(fields->severity + fields->sqlstate + fields->message + fields->detail + fields->hint, "");
}

TEST(ErrorFields, TakeTheSeverityThatIsNotTranslated) {
  EXPECT_EQ(decode_error_fields("'VFATAL'00 'SFATAL: fatal'00 00"_wire)->severity, "FATAL");
  EXPECT_EQ(decode_error_fields("'SFATAL: fatal'00 'VFATAL'00 00"_wire)->severity, "FATAL");
}

TEST(ErrorFields, TakeTheTranslatedSeverityOfAServerThatSendsNoOther) {
  EXPECT_EQ(decode_error_fields("'SFATAL'00 00"_wire)->severity, "FATAL");
}

TEST(ErrorFields, AreRefusedWhereTheyDoNotFillTheirMessage) {
  for (const auto& body :
       {""_wire, "'M'"_wire, "'Mno'"_wire, "'Mno'00"_wire, "'Mno'00 00 00"_wire, "00 'Mno'00 00"_wire}) {
    const auto fields = decode_error_fields(body);
    ASSERT_FALSE(fields.has_value());
    EXPECT_EQ(fields.error(), DecodeError::bad_layout);
  }
}

TEST(ErrorResponse, HasItsFieldsInTheServersOrder) {
  Bytes out;
  encode_error_response(
      {.severity = "FATAL", .sqlstate = "28000", .message = "no", .detail = "Why.", .hint = "How."}, out);
  EXPECT_EQ(out, "'E' 0000002a 'SFATAL'00 'VFATAL'00 'C28000'00 'Mno'00 'DWhy.'00 'HHow.'00 00"_wire);
}

TEST(ErrorResponse, HasNoFieldForAnEmptyDetailOrHint) {
  Bytes out;
  encode_error_response({.severity = "FATAL", .sqlstate = "28000", .message = "no", .detail = {}, .hint = {}},
                        out);
  EXPECT_EQ(out, "'E' 0000001e 'SFATAL'00 'VFATAL'00 'C28000'00 'Mno'00 00"_wire);
}

TEST(ErrorResponse, LeavesOutBytesThatWouldEndAField) {
  Bytes out;
  encode_error_response({.severity = "FATAL",
                         .sqlstate = "28000",
                         .message = std::string("a\0b", 3),
                         .detail = std::string("\0\0Mforged\0", 10),
                         .hint = std::string("\0", 1)},
                        out);
  const auto fields = decode_error_fields(body_of(out, kErrorResponse));
  ASSERT_TRUE(fields.has_value());
  EXPECT_EQ(fields->message, "ab");
  EXPECT_EQ(fields->detail, "Mforged");
  EXPECT_EQ(fields->hint, "");
}

TEST(ErrorResponse, CutsTheDetailFirst) {
  Bytes out;
  encode_error_response({.severity = "FATAL",
                         .sqlstate = "28000",
                         .message = std::string(10'000, 'm'),
                         .detail = std::string(40'000, 'd'),
                         .hint = std::string(5'000, 'h')},
                        out);
  EXPECT_EQ(out.size(), 29'999u);
  const auto fields = decode_error_fields(body_of(out, kErrorResponse));
  ASSERT_TRUE(fields.has_value());
  EXPECT_EQ(fields->message.size(), 10'000u);
  EXPECT_EQ(fields->hint.size(), 5'000u);
}

TEST(ErrorResponse, StaysBelowWhatLibpqReadsHoweverLongEveryFieldIs) {
  const std::string endless(1'000'000, 'x');
  Bytes out;
  encode_error_response(
      {.severity = endless, .sqlstate = endless, .message = endless, .detail = endless, .hint = endless},
      out);
  EXPECT_LT(out.size(), 30'000u);
  EXPECT_TRUE(decode_error_fields(body_of(out, kErrorResponse)).has_value());
}

TEST(ErrorResponse, TearsNoCharacterWhereItCuts) {
  for (std::size_t shift = 0; shift < 3; ++shift) {
    std::string detail(shift, 'x');
    while (detail.size() < 40'000) detail += "\u20ac";  // three bytes each
    Bytes out;
    encode_error_response(
        {.severity = "FATAL", .sqlstate = "28000", .message = "no", .detail = detail, .hint = {}}, out);
    const auto fields = decode_error_fields(body_of(out, kErrorResponse));
    ASSERT_TRUE(fields.has_value());
    EXPECT_EQ((fields->detail.size() - shift) % 3, 0u);
    EXPECT_GT(out.size(), 29'900u);
  }
}

TEST(ErrorResponse, IsALineForAClientOlderThanProtocol3) {
  Bytes out;
  encode_old_error_response(std::string_view("no\0 way", 7), out);
  EXPECT_EQ(out, "'EFATAL:  no way' 0a 00"_wire);
}

TEST(Authentication, IsWrittenAsItIsRead) {
  Bytes ok;
  encode_authentication(AuthenticationCode::ok, {}, ok);
  EXPECT_EQ(ok, "'R' 00000008 00000000"_wire);
  Bytes cleartext;
  encode_authentication(AuthenticationCode::cleartext_password, {}, cleartext);
  EXPECT_EQ(cleartext, "'R' 00000008 00000003"_wire);
  Bytes final_message;
  encode_authentication(AuthenticationCode::sasl_final, "'v=abc'"_wire, final_message);
  EXPECT_EQ(final_message, "'R' 0000000d 0000000c 'v=abc'"_wire);
}

TEST(Md5Salt, HasFourBytes) {
  const auto data = "'salt'"_wire;
  EXPECT_EQ(as_text(*decode_md5_salt(data)), "salt");
  for (const auto& wrong : {""_wire, "'sal'"_wire, "'salty'"_wire})
    EXPECT_EQ(decode_md5_salt(wrong).error(), DecodeError::bad_length);
}

}  // namespace
}  // namespace pgveil::protocol
