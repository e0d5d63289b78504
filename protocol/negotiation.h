// The negotiation with a client before its StartupMessage: the order and number of SSLRequest, GSSENCRequest,
// direct TLS and CancelRequest. Source: PostgreSQL 18, src/backend/tcop/backend_startup.c (ProcessSSLStartup,
// ProcessStartupPacket). The two rules against inserted bytes are CVE-2021-23214 and CVE-2026-6479.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "protocol/bytes.h"
#include "protocol/startup.h"

namespace pgveil::protocol {

// The replies of a listener.
struct NegotiationPolicy {
  bool tls = false;                  // the reply to SSLRequest is `S`; otherwise `N`
  bool direct_tls = false;           // a first byte of 0x16 starts TLS directly; never on a Unix socket
  bool user_may_be_missing = false;  // in the StartupMessage: the client's certificate identifies it
};

// The reason why a negotiation failed. The first two get no reply, as in PostgreSQL.
enum class NegotiationFailure {
  malformed_packet,                    // bad length, or a CancelRequest without a valid key
  direct_tls_not_offered,              // a TLS record on a listener without direct TLS
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
  // The last request for encryption that got the reply `N`.
  enum class Declined { nothing, tls, gss };

  enum class Event {
    more,        // more bytes are needed
    accept_tls,  // `S` was sent, or a TLS record came first: the rest of `in` belongs to the handshake
    startup,     // startup() holds an acceptable StartupMessage
    cancel,      // cancel() holds a CancelRequest
    failed,      // failure() has the reason
  };

  explicit Negotiation(NegotiationPolicy policy) : policy_(policy) {}

  // Reads at most one packet from the front of `in`, advances `in`, and appends the reply to `out`. After
  // `more` it must be called again with later bytes. Any other event is final, and nothing more is read, with
  // one exception: tls_established() continues after accept_tls.
  //
  // Bytes received before TLS are never read as if they had been received inside TLS. Two cases are failures:
  // bytes that arrive together with a refused request, and bytes that are not a TLS record after an
  // SSLRequest that would be accepted. In the second case an error is sent in place of the `S`, so that the
  // client can read it.
  [[nodiscard]] Event advance(ByteReader& in, Bytes& out);

  // Continues after the handshake that accept_tls has requested. From now on advance() gets decrypted bytes.
  void tls_established();
  [[nodiscard]] bool inside_tls() const { return inside_tls_; }
  // Returns the last request that was declined. A client that requires encryption then disconnects.
  [[nodiscard]] Declined declined() const { return declined_; }
  // Returns whether TLS began without an SSLRequest. Then the client must have agreed on ALPN `postgresql`.
  [[nodiscard]] bool direct_tls() const { return direct_tls_; }

  [[nodiscard]] const StartupMessage& startup() const { return startup_; }
  [[nodiscard]] StartupMessage take_startup() { return std::move(startup_); }
  [[nodiscard]] const CancelRequest& cancel() const { return cancel_; }
  // Moves the key, a secret, to the caller.
  [[nodiscard]] CancelRequest take_cancel() { return std::move(cancel_); }
  [[nodiscard]] NegotiationFailure failure() const { return failure_; }
  // Returns PostgreSQL's message for failure(), such as "unsupported frontend protocol 2.0: server supports
  // 3.0 to 3.2".
  [[nodiscard]] const std::string& failure_message() const { return failure_message_; }
  // Returns PostgreSQL's DETAIL for it, or an empty text.
  [[nodiscard]] std::string_view failure_detail() const { return failure_detail_; }
  // Returns PostgreSQL's HINT for it, or an empty text.
  [[nodiscard]] std::string_view failure_hint() const { return failure_hint_; }
  // Returns true if PostgreSQL sends the error in the format of protocol 2: for 0.1 to 2.65535, but not for
  // 0.0.
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
  bool ssl_done_ = false;  // an SSLRequest was received, or is no longer allowed
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
