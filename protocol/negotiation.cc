#include "protocol/negotiation.h"

#include <cassert>
#include <variant>

namespace pgveil::protocol {
namespace {

constexpr std::uint8_t kTlsHandshakeRecord = 0x16;  // RFC 8446, 5.1; not the first byte of any startup packet
constexpr std::uint8_t kTlsAccepted = 'S';
constexpr std::uint8_t kRefused = 'N';
constexpr std::string_view kStuffingDetail =
    "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.";
constexpr std::string_view kReplicationHint = "Valid values are: \"false\", 0, \"true\", 1, \"database\".";

std::string unsupported(ProtocolVersion version) {
  return "unsupported frontend protocol " + std::to_string(protocol_major(version)) + "." +
         std::to_string(protocol_minor(version)) + ": server supports 3.0 to 3.2";
}

}  // namespace

Negotiation::Event Negotiation::advance(ByteReader& in, Bytes& out) {
  if (event_ == Event::more && !in.empty()) event_ = step(in, out);
  return event_;
}

// No loop is needed: if a packet is followed by another packet, bytes after it are an error.
Negotiation::Event Negotiation::step(ByteReader& in, Bytes& out) {
  if (!first_byte_seen_) {
    first_byte_seen_ = true;
    if (in.rest().front() == kTlsHandshakeRecord) return begin_direct_tls();
  }
  auto packet = decode_startup_packet(in);
  if (!packet) {
    if (packet.error() == DecodeError::bad_length)
      return fail(NegotiationFailure::malformed_packet, "invalid length of startup packet");
    return fail(NegotiationFailure::bad_layout,
                "invalid startup packet layout: expected terminator as last byte");
  }
  if (!packet->has_value()) return Event::more;
  if (std::holds_alternative<SslRequest>(**packet)) return answer_ssl_request(in, out);
  if (std::holds_alternative<GssEncRequest>(**packet)) return answer_gss_request(in, out);
  if (auto* cancel = std::get_if<CancelRequest>(&**packet)) {
    cancel_ = std::move(*cancel);
    return Event::cancel;
  }
  return take_startup_message(std::get<StartupMessage>(std::move(**packet)));
}

void Negotiation::tls_established() {
  assert(event_ == Event::accept_tls);
  inside_tls_ = true;
  event_ = Event::more;
}

Negotiation::Event Negotiation::begin_direct_tls() {
  if (!policy_.direct_tls)
    return fail(NegotiationFailure::direct_tls_not_offered, "a TLS handshake came where none is offered");
  direct_tls_ = true;
  return Event::accept_tls;
}

Negotiation::Event Negotiation::answer_ssl_request(const ByteReader& in, Bytes& out) {
  if (ssl_done_) return fail(NegotiationFailure::unsupported_version, unsupported(kSslRequestCode));
  ssl_done_ = true;
  const bool accepted = policy_.tls && !inside_tls_;
  if (!accepted) {
    out.push_back(kRefused);
    declined_ = Declined::tls;
  }

  // After `S` the client sends its ClientHello, which may already be here. Any other bytes were inserted to
  // be read as if they had arrived inside TLS (CVE-2021-23214).
  const bool stuffed = !in.empty() && !(accepted && in.rest().front() == kTlsHandshakeRecord);
  if (stuffed)
    return fail(NegotiationFailure::unencrypted_data_after_ssl_request,
                "received unencrypted data after SSL request", kStuffingDetail);
  if (!accepted) return Event::more;
  out.push_back(kTlsAccepted);
  gss_done_ = true;
  return Event::accept_tls;
}

Negotiation::Event Negotiation::answer_gss_request(const ByteReader& in, Bytes& out) {
  if (gss_done_) return fail(NegotiationFailure::unsupported_version, unsupported(kGssEncRequestCode));
  gss_done_ = true;
  out.push_back(kRefused);
  declined_ = Declined::gss;
  if (in.empty()) return Event::more;
  return fail(NegotiationFailure::unencrypted_data_after_gss_request,
              "received unencrypted data after GSSAPI encryption request", kStuffingDetail);
}

Negotiation::Event Negotiation::take_startup_message(StartupMessage message) {
  startup_ = std::move(message);
  const auto defect = find_startup_defect(startup_, policy_.user_may_be_missing);
  return defect ? fail_over_defect(*defect) : Event::startup;
}

Negotiation::Event Negotiation::fail_over_defect(StartupDefect defect) {
  switch (defect) {
    case StartupDefect::unsupported_version:
      // Version 0.0 gets the new format: for the server 0 means that the version is not known yet (elog.c).
      wants_old_error_ =
          startup_.version != 0 && protocol_major(startup_.version) < protocol_major(kProtocol30);
      return fail(NegotiationFailure::unsupported_version, unsupported(startup_.version));
    case StartupDefect::invalid_replication:
      return fail(NegotiationFailure::invalid_replication, std::string(message_of(defect)), {},
                  kReplicationHint);
    case StartupDefect::no_user: return fail(NegotiationFailure::no_user, std::string(message_of(defect)));
    case StartupDefect::duplicate_parameter:
      return fail(NegotiationFailure::duplicate_parameter, std::string(message_of(defect)));
    case StartupDefect::name_too_long:
      return fail(NegotiationFailure::name_too_long, std::string(message_of(defect)));
  }
  assert(false);
  return fail(NegotiationFailure::malformed_packet, "invalid startup packet");
}

Negotiation::Event Negotiation::fail(NegotiationFailure failure, std::string message, std::string_view detail,
                                     std::string_view hint) {
  failure_ = failure;
  failure_message_ = std::move(message);
  failure_detail_ = detail;
  failure_hint_ = hint;
  return Event::failed;
}

}  // namespace pgveil::protocol
