// The messages that a server sends around login, as decoded values, and those that we send in a server's
// name. Source: PostgreSQL 18, "Message Formats"; src/include/libpq/protocol.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/decoded.h"
#include "protocol/startup.h"

namespace pgveil::protocol {

inline constexpr char kAuthentication = 'R';
inline constexpr char kBackendKeyData = 'K';
inline constexpr char kErrorResponse = 'E';
inline constexpr char kNegotiateProtocolVersion = 'v';
inline constexpr char kNoticeResponse = 'N';
inline constexpr char kParameterStatus = 'S';
inline constexpr char kReadyForQuery = 'Z';

// AUTH_REQ_* of protocol.h; a server may send others.
enum class AuthenticationCode : std::uint32_t {
  ok = 0,
  kerberos_v5 = 2,
  cleartext_password = 3,
  md5_password = 5,
  gss = 7,
  gss_continue = 8,
  sspi = 9,
  sasl = 10,
  sasl_continue = 11,
  sasl_final = 12,
};

inline constexpr std::string_view kScramSha256 = "SCRAM-SHA-256";
inline constexpr std::string_view kScramSha256Plus = "SCRAM-SHA-256-PLUS";

struct Authentication {
  AuthenticationCode code = AuthenticationCode::ok;
  ByteView data;  // points into the message
};
[[nodiscard]] tl::expected<Authentication, DecodeError> decode_authentication(ByteView body);

// The mechanisms of an AuthenticationSASL's data, in the server's order; they point into it.
[[nodiscard]] tl::expected<std::vector<std::string_view>, DecodeError> decode_sasl_mechanisms(ByteView data);
void encode_authentication_sasl(const std::vector<std::string_view>& mechanisms, Bytes& out);

// BackendKeyData: with which key a CancelRequest reaches this session.
[[nodiscard]] tl::expected<CancelRequest, DecodeError> decode_backend_key_data(ByteView body);

// Fields of an ErrorResponse or NoticeResponse. Every one is optional in what a server sends: empty means
// absent.
struct ErrorFields {
  std::string severity;  // as both S and V: "FATAL", "ERROR", ...
  std::string sqlstate;
  std::string message;
  std::string detail;
  std::string hint;
};
[[nodiscard]] tl::expected<ErrorFields, DecodeError> decode_error_fields(ByteView body);
// Appends an ErrorResponse. Bytes that would end a field early (NUL) are left out, and the whole is kept
// below the 30 000 bytes that libpq reads before ReadyForQuery by cutting detail first.
void encode_error_response(const ErrorFields& fields, Bytes& out);
// The refusal that a client of protocol 1 or 2 can read: 'E', "FATAL:  ", text, newline, NUL; no length word
// (src/backend/utils/error/elog.c, send_message_to_frontend).
void encode_old_error_response(std::string_view text, Bytes& out);

// AuthenticationOk and AuthenticationCleartextPassword have no data; that of MD5Password is a salt, and that
// of SASLContinue and SASLFinal is the mechanism's.
void encode_authentication(AuthenticationCode code, ByteView data, Bytes& out);

inline constexpr std::size_t kMd5SaltBytes = 4;
// The salt of an AuthenticationMD5Password's data; points into it.
[[nodiscard]] tl::expected<ByteView, DecodeError> decode_md5_salt(ByteView data);

}  // namespace pgveil::protocol
