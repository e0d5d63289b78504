// The conversation with a client before its StartupMessage: SSLRequest, GSSENCRequest, direct TLS,
// CancelRequest, in which order and how often. Source: PostgreSQL 18, src/backend/tcop/backend_startup.c
// (ProcessSSLStartup, ProcessStartupPacket); the two rules against stuffed bytes are CVE-2021-23214 and
// CVE-2026-6479.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "protocol/bytes.h"
#include "protocol/startup.h"

namespace pgveil::protocol {

// What a listener answers.
struct NegotiationPolicy {
  bool tls = false;                  // SSLRequest gets `S`; otherwise `N`
  bool direct_tls = false;           // a first byte of 0x16 opens TLS at once; never on a Unix socket
  bool user_may_be_missing = false;  // in the StartupMessage: who the client is follows from its certificate
};

// Why a negotiation failed. The first two end without a reply, as PostgreSQL does.
enum class NegotiationFailure {
  malformed_packet,                    // bad length, or a CancelRequest without a usable key
  direct_tls_not_offered,              // a TLS record where the listener takes none
  unsupported_version,                 // 0A000; see wants_old_error() for its format
  unencrypted_data_after_ssl_request,  // 08P01
  unencrypted_data_after_gss_request,  // 08P01
  bad_layout,                          // 08P01
  no_user,                             // 28000
  duplicate_parameter,                 // 08P01
  name_too_long,                       // 08P01
  invalid_replication,                 // 22023
};

class Negotiation {
 public:
  // A request for encryption that was answered `N`.
  enum class Declined { nothing, tls, gss };

  enum class Event {
    more,        // wait for bytes
    accept_tls,  // `S` was answered, or a TLS record came first: what is left of `in` is the handshake's
    startup,     // startup() holds an acceptable StartupMessage
    cancel,      // cancel() holds a CancelRequest
    failed,      // failure() says why and whether the client is told
  };

  explicit Negotiation(NegotiationPolicy policy) : policy_(policy) {}

  // Reads at most one packet from the front of `in`, which moves past it, and appends the answer to `out`. To
  // be called again with every further byte after `more`; any other event stands, and nothing more is read,
  // until tls_established() follows accept_tls.
  //
  // Nothing that came before TLS is ever read as if it came inside: bytes that came with a refused request,
  // or bytes that are no TLS record after an SSLRequest that would be accepted, are a failure. In the second
  // case the refusal takes the place of the `S`, where a client can read it.
  [[nodiscard]] Event advance(ByteReader& in, Bytes& out);

  // The handshake that accept_tls asked for is done; from now on advance() is given decrypted bytes.
  void tls_established();
  [[nodiscard]] bool inside_tls() const { return inside_tls_; }
  // The last one. A client that needs it leaves.
  [[nodiscard]] Declined declined() const { return declined_; }
  // TLS without an SSLRequest before it: the client must have agreed on ALPN `postgresql`.
  [[nodiscard]] bool direct_tls() const { return direct_tls_; }

  [[nodiscard]] const StartupMessage& startup() const { return startup_; }
  [[nodiscard]] StartupMessage take_startup() { return std::move(startup_); }
  [[nodiscard]] const CancelRequest& cancel() const { return cancel_; }
  [[nodiscard]] NegotiationFailure failure() const { return failure_; }
  // PostgreSQL's sentence for failure(), such as "unsupported frontend protocol 2.0: server supports 3.0
  // to 3.2".
  [[nodiscard]] const std::string& failure_message() const { return failure_message_; }
  // PostgreSQL's DETAIL for it, or empty.
  [[nodiscard]] std::string_view failure_detail() const { return failure_detail_; }
  // PostgreSQL's HINT for it, or empty.
  [[nodiscard]] std::string_view failure_hint() const { return failure_hint_; }
  // True if PostgreSQL sends the error in the format of protocol 2: for 0.1 to 2.65535, but not for 0.0.
  [[nodiscard]] bool wants_old_error() const { return wants_old_error_; }

 private:
  [[nodiscard]] Event step(ByteReader& in, Bytes& out);
  [[nodiscard]] Event begin_direct_tls();
  [[nodiscard]] Event answer_ssl_request(const ByteReader& in, Bytes& out);
  [[nodiscard]] Event answer_gss_request(const ByteReader& in, Bytes& out);
  [[nodiscard]] Event take_startup_message(StartupMessage message);
  [[nodiscard]] Event fail_over_defect(StartupDefect defect);
  [[nodiscard]] Event fail(NegotiationFailure failure, std::string message, std::string_view detail = {},
                           std::string_view hint = {});

  NegotiationPolicy policy_;
  Event event_ = Event::more;
  bool first_byte_seen_ = false;
  bool ssl_done_ = false;  // SSLRequest was answered, or may no longer come
  bool gss_done_ = false;
  bool inside_tls_ = false;
  bool direct_tls_ = false;
  bool wants_old_error_ = false;
  Declined declined_ = Declined::nothing;
  StartupMessage startup_;
  CancelRequest cancel_;
  NegotiationFailure failure_ = NegotiationFailure::malformed_packet;
  std::string failure_message_;
  std::string_view failure_detail_;
  std::string_view failure_hint_;
};

}  // namespace pgveil::protocol
