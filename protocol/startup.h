// The packets without a type byte, with which a client begins a connection: SSLRequest, GSSENCRequest,
// CancelRequest and StartupMessage. Source: PostgreSQL 18, src/backend/tcop/backend_startup.c
// (ProcessStartupPacket) and src/include/libpq/pqcomm.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/decoded.h"

namespace pgveil::protocol {

// A protocol version as sent in messages: the major number is in the upper half.
using ProtocolVersion = std::uint32_t;
constexpr ProtocolVersion make_protocol_version(std::uint32_t major, std::uint32_t minor) {
  return (major << 16) | minor;
}
constexpr std::uint32_t protocol_major(ProtocolVersion version) {
  return version >> 16;
}
constexpr std::uint32_t protocol_minor(ProtocolVersion version) {
  return version & 0xffff;
}
inline constexpr ProtocolVersion kProtocol30 = make_protocol_version(3, 0);
inline constexpr ProtocolVersion kProtocol32 = make_protocol_version(3, 2);

inline constexpr ProtocolVersion kCancelRequestCode = make_protocol_version(1234, 5678);
inline constexpr ProtocolVersion kSslRequestCode = make_protocol_version(1234, 5679);
inline constexpr ProtocolVersion kGssEncRequestCode = make_protocol_version(1234, 5680);

// MAX_STARTUP_PACKET_LENGTH: does not include the length word.
inline constexpr std::uint32_t kMaxStartupBodyBytes = 10'000;
// NAMEDATALEN - 1: the server truncates longer names.
inline constexpr std::size_t kMaxNameBytes = 63;
inline constexpr std::size_t kMaxCancelKeyBytes = 256;

// The two requests consist of their code. The server ignores further bytes of their packet, and so does
// pgveil.
struct SslRequest {};
struct GssEncRequest {};

struct CancelRequest {
  std::uint32_t process_id = 0;
  Bytes key;  // 1 to 256 bytes, a secret
};

struct StartupMessage {
  ProtocolVersion version = kProtocol30;
  // In the client's order. Empty for a version whose major number is not 3, because such a packet has another
  // layout.
  std::vector<std::pair<std::string, std::string>> parameters;

  // Returns the value of `name` (compared case-sensitively, as the server does); the last value if there are
  // several.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const;
  [[nodiscard]] std::string_view user() const;
  // Returns the database that the server will open: the user's name if no database is given.
  [[nodiscard]] std::string_view database() const;
  // Returns whether `replication` is true for parse_bool(): a walsender without a database.
  // `replication=database` is not true.
  [[nodiscard]] bool is_physical_replication() const;

  // Sets `name` to the single value `value`, at its first position or after all other parameters.
  void set(std::string_view name, std::string value);
};

using StartupPacket = std::variant<SslRequest, GssEncRequest, CancelRequest, StartupMessage>;

// Decodes one packet from the front of `in`. Advances `in` only if the whole packet is there. Returns
// bad_length as soon as the length word is readable, so that no peer can make pgveil buffer more than 10 004
// bytes.
[[nodiscard]] Decoded<StartupPacket> decode_startup_packet(ByteReader& in);

// The reason why a decoded StartupMessage is refused.
enum class StartupDefect {
  unsupported_version,  // major version other than 3
  no_user,              // `user` missing or empty
  duplicate_parameter,  // user, database, replication or options is given twice: the server uses the last one
  name_too_long,        // user or database of 64 bytes or more: the server would truncate it to another name
  invalid_replication,  // neither a boolean, as parse_bool() reads it, nor "database"
};
// Returns the message for the client. It has no value that the client has sent.
[[nodiscard]] std::string_view message_of(StartupDefect defect);
// `user_may_be_missing`: the caller identifies the client by other means.
[[nodiscard]] std::optional<StartupDefect> find_startup_defect(const StartupMessage& message,
                                                               bool user_may_be_missing = false);

// Appends the packet. A StartupMessage is built from its parameters, never from the client's bytes, so that
// the server cannot read it differently than pgveil did.
void encode_startup_message(const StartupMessage& message, Bytes& out);
void encode_cancel_request(const CancelRequest& request, Bytes& out);
void encode_ssl_request(Bytes& out);
void encode_gss_enc_request(Bytes& out);

// Returns whether the encoded message has at most kMaxStartupBodyBytes.
[[nodiscard]] bool fits_startup_packet(const StartupMessage& message);

}  // namespace pgveil::protocol
