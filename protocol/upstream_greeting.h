// The conversation with a server before TLS: SSLRequest, then exactly one byte. Nothing else may come before
// the handshake (CVE-2021-23222), and what an unverified server says in words is never shown
// (CVE-2024-10977). Source: PostgreSQL 18, src/interfaces/libpq/fe-connect.c (PQconnectPoll,
// CONNECTION_SSL_STARTUP).
#pragma once

#include <cstdint>

#include "protocol/bytes.h"

namespace pgveil::protocol {

class UpstreamGreeting {
 public:
  enum class Answer {
    more,             // nothing has come yet
    accepted,         // `S` and not a byte more: begin the handshake
    refused,          // `N`: the server has no TLS
    error_response,   // `E`: a server that cannot serve or knows no SSLRequest; its text is not read
    unexpected_byte,  // answer_byte() is none of the three: not a PostgreSQL server
    early_bytes,      // more than the one byte came: a broken server, or someone in between
  };

  // Appends the SSLRequest. Nothing may be sent after it before the answer: servers up to 16 would stall.
  void begin(Bytes& out) const;
  // To be given everything that one read returned.
  [[nodiscard]] Answer receive(ByteView bytes);
  [[nodiscard]] std::uint8_t answer_byte() const { return answer_byte_; }

 private:
  std::uint8_t answer_byte_ = 0;
};

}  // namespace pgveil::protocol
