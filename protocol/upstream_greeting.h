// The negotiation with a server before TLS: SSLRequest, then exactly one byte. Nothing else may arrive before
// the handshake (CVE-2021-23222), and text from an unverified server is never shown (CVE-2024-10977). Source:
// PostgreSQL 18, src/interfaces/libpq/fe-connect.c (PQconnectPoll, CONNECTION_SSL_STARTUP).
#pragma once

#include <cstdint>

#include "protocol/bytes.h"

namespace pgveil::protocol {

class UpstreamGreeting {
 public:
  enum class Answer {
    more,             // nothing has been received yet
    accepted,         // `S` and no further byte: begin the handshake
    refused,          // `N`: the server has no TLS
    error_response,   // `E`: the server cannot serve, or does not know SSLRequest; its text is not read
    unexpected_byte,  // answer_byte() is none of the three: not a PostgreSQL server
    early_bytes,      // more than one byte was received: a broken server, or an attacker on the network
  };

  // Appends the SSLRequest. Nothing may be sent before the reply to it: servers up to 16 would stall.
  void begin(Bytes& out) const;
  // Processes the reply. `bytes` must be everything that one read returned.
  [[nodiscard]] Answer receive(ByteView bytes);
  [[nodiscard]] std::uint8_t answer_byte() const { return answer_byte_; }

 private:
  std::uint8_t answer_byte_ = 0;
};

}  // namespace pgveil::protocol
