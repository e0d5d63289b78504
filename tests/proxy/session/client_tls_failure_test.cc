#include "proxy/session/client_tls_failure.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <string_view>

#include "protocol/bytes.h"

namespace pgveil::proxy {
namespace {

using Declined = protocol::Negotiation::Declined;

constexpr const char* kReset = "Connection reset by peer";
constexpr const char* kCertificate = "The certificate names \"db\"; the client asked for no server name.";

struct Leaving {
  const char* name;
  EarlyLeave leave;
  Reason reason;
  const char* detail;  // a part of the expected detail
};
void PrintTo(const Leaving& row, std::ostream* out) {
  *out << row.name;
}

class LeavingClient : public testing::TestWithParam<Leaving> {};

TEST_P(LeavingClient, HasAReason) {
  const Ending ending = early_leave_ending(GetParam().leave);
  EXPECT_EQ(describe(ending.reason).name, describe(GetParam().reason).name);
  EXPECT_NE(ending.detail.find(GetParam().detail), std::string::npos) << ending.detail;
}

EarlyLeave in_plaintext(Declined declined, const char* error = "", bool inside_packet = false) {
  return {.error = error, .has_sent = true, .inside_packet = inside_packet, .declined = declined};
}

EarlyLeave in_tls(Declined declined, const char* error = "", bool inside_packet = false) {
  return {.error = error,
          .has_sent = true,
          .inside_packet = inside_packet,
          .inside_tls = true,
          .declined = declined,
          .certificate = kCertificate};
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Early, LeavingClient, testing::Values(
    Leaving{"Probe", {}, Reason::no_startup, ""},
    Leaving{"ProbeWithReset", {.error = kReset}, Reason::no_startup, kReset},
    Leaving{"InsideAPacket", in_plaintext(Declined::nothing, "", true), Reason::malformed_startup, "before its StartupMessage"},
    Leaving{"InsideAPacketWithReset", in_plaintext(Declined::nothing, kReset, true), Reason::client_lost, kReset},
    Leaving{"InsideAPacketAfterSslRequest", in_plaintext(Declined::tls, "", true), Reason::malformed_startup, "before its StartupMessage"},
    Leaving{"AfterSslRequest", in_plaintext(Declined::tls), Reason::tls_not_offered, "sslmode=require"},
    Leaving{"AfterSslRequestWithReset", in_plaintext(Declined::tls, kReset), Reason::tls_not_offered, "sslmode=require"},
    Leaving{"AfterGssEncRequest", in_plaintext(Declined::gss), Reason::gss_not_offered, "gssencmode=require"},
    Leaving{"AfterTheHandshake", in_tls(Declined::nothing), Reason::left_after_handshake, kCertificate},
    Leaving{"AfterTheHandshakeWithReset", in_tls(Declined::nothing, kReset), Reason::left_after_handshake, "probably"},
    Leaving{"InsideAPacketInTls", in_tls(Declined::nothing, "", true), Reason::malformed_startup, "before its StartupMessage"},
    Leaving{"InsideAPacketInTlsWithReset", in_tls(Declined::nothing, kReset, true), Reason::client_lost, kReset},
    Leaving{"AfterSslRequestInTls", in_tls(Declined::tls), Reason::malformed_startup, "before its StartupMessage"},
    Leaving{"AfterGssEncRequestInTls", in_tls(Declined::gss), Reason::gss_not_offered, "gssencmode=require"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

std::string detail_of(std::string_view first_bytes) {
  const Ending ending = malformed_startup_ending(protocol::as_bytes(first_bytes), "invalid length");
  EXPECT_EQ(ending.reason, Reason::malformed_startup);
  EXPECT_EQ(ending.message, "invalid length");
  return ending.detail;
}

TEST(MalformedStartup, NamesTheProtocolThatItKnows) {
  EXPECT_EQ(detail_of("GET / HTTP/1.1\r\n"), "The first bytes are those of HTTP.");
  EXPECT_EQ(detail_of("SSH-"), "The first bytes are those of SSH.");
  EXPECT_EQ(detail_of("GET"), "");
  EXPECT_EQ(detail_of(""), "");
  EXPECT_EQ(detail_of("AUTH secret"), "") << "what is not known is not repeated";
}

tls::FailureReport alert(tls::Failure failure, const char* words, const char* detail = "") {
  return {.failure = failure, .reason = words, .depth = 0, .subject = {}, .issuer = {}, .detail = detail};
}

TEST(ClientTlsEnding, IsTheClientsVerdictWhereAnAlertSaysSo) {
  const auto known = client_tls_ending(
      alert(tls::Failure::rejected_by_peer, "tlsv1 alert unknown ca", "What the handshake knows."),
      kCertificate);
  EXPECT_EQ(known.reason, Reason::client_rejected_certificate);
  EXPECT_EQ(known.detail, "The client's verdict is \"tlsv1 alert unknown ca\". What the handshake knows.");
  const auto afterwards =
      client_tls_ending(alert(tls::Failure::rejected_by_peer, "sslv3 alert bad certificate"), kCertificate);
  EXPECT_EQ(afterwards.reason, Reason::client_rejected_certificate);
  EXPECT_EQ(afterwards.detail,
            std::string("The client's verdict is \"sslv3 alert bad certificate\". ") + kCertificate);
}

TEST(ClientTlsEnding, OfAnotherAlertIsAFailureOfTls) {
  const auto ending =
      client_tls_ending(alert(tls::Failure::alert, "tlsv1 alert internal error"), kCertificate);
  EXPECT_EQ(ending.reason, Reason::tls_failed);
  EXPECT_EQ(ending.detail, "tlsv1 alert internal error.");
}

}  // namespace
}  // namespace pgveil::proxy
