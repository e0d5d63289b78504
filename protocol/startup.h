// The packets without a type byte, with which a client opens a connection: SSLRequest, GSSENCRequest,
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

// A protocol version as it stands on the wire: the major number in the upper half.
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

// MAX_STARTUP_PACKET_LENGTH: without the length word.
inline constexpr std::uint32_t kMaxStartupBodyBytes = 10'000;
// NAMEDATALEN - 1: longer names are cut by the server.
inline constexpr std::size_t kMaxNameBytes = 63;
inline constexpr std::size_t kMaxCancelKeyBytes = 256;

// The two requests are their code; the server ignores what their packet holds after it, and so do we.
struct SslRequest {};
struct GssEncRequest {};

struct CancelRequest {
  std::uint32_t process_id = 0;
  Bytes key;  // 1 to 256 bytes, a secret
};

struct StartupMessage {
  ProtocolVersion version = kProtocol30;
  // In the client's order. Empty for a version whose major number is not 3: such a packet has another layout.
  std::vector<std::pair<std::string, std::string>> parameters;

  // The value of `name` (compared case-sensitively, as the server does); the last one where it stands twice.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const;
  [[nodiscard]] std::string_view user() const;
  // The database that the server will open: the user's name where none was asked for.
  [[nodiscard]] std::string_view database() const;
  // `replication` is true, as parse_bool() reads it: a walsender of no database. `replication=database` is
  // none.
  [[nodiscard]] bool is_physical_replication() const;

  // Gives `name` the one value `value`, at its first place or after all others.
  void set(std::string_view name, std::string value);
};

using StartupPacket = std::variant<SslRequest, GssEncRequest, CancelRequest, StartupMessage>;

// Decodes one packet from the front of `in`, which moves past it only once the whole packet is there.
// Returns bad_length as soon as the length word is readable, so that no peer can make us buffer more
// than 10 004 bytes.
[[nodiscard]] Decoded<StartupPacket> decode_startup_packet(ByteReader& in);

// What makes a decoded StartupMessage unacceptable.
enum class StartupDefect {
  unsupported_version,  // major version other than 3
  no_user,              // `user` missing or empty
  duplicate_parameter,  // user, database, replication or options stands twice: the server takes the last one
  name_too_long,        // user or database of 64 bytes or more: the server would cut it to another name
  invalid_replication,  // neither a boolean, as parse_bool() reads it, nor "database"
};
// `user_may_be_missing`: whoever asks will find out who the client is.
[[nodiscard]] std::optional<StartupDefect> find_startup_defect(const StartupMessage& message,
                                                               bool user_may_be_missing = false);

// Appends the packet as the server reads it. For a StartupMessage: from its parameters, never from the
// client's bytes, so that the server cannot read them differently than we did.
void encode_startup_message(const StartupMessage& message, Bytes& out);
void encode_cancel_request(const CancelRequest& request, Bytes& out);
void encode_ssl_request(Bytes& out);

// Whether the encoded message stays within kMaxStartupBodyBytes.
[[nodiscard]] bool fits_startup_packet(const StartupMessage& message);

}  // namespace pgveil::protocol
