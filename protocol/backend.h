// The messages of a server during login, as decoded values, and those that pgveil sends as a server. Source:
// PostgreSQL 18, "Message Formats"; src/include/libpq/protocol.h.
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

// The AUTH_REQ_* of protocol.h. A server may send others.
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

// Returns the mechanisms in the data of AuthenticationSASL, in the server's order. They point into `data`.
[[nodiscard]] tl::expected<std::vector<std::string_view>, DecodeError> decode_sasl_mechanisms(ByteView data);
void encode_authentication_sasl(const std::vector<std::string_view>& mechanisms, Bytes& out);

// Decodes BackendKeyData: the key with which a CancelRequest can cancel queries of this session.
[[nodiscard]] tl::expected<CancelRequest, DecodeError> decode_backend_key_data(ByteView body);

// The fields of an ErrorResponse or NoticeResponse. Each is optional in a server's message: empty means
// absent.
struct ErrorFields {
  std::string severity;  // both S and V: "FATAL", "ERROR", ...
  std::string sqlstate;
  std::string message;
  std::string detail;
  std::string hint;
};
[[nodiscard]] tl::expected<ErrorFields, DecodeError> decode_error_fields(ByteView body);
// Appends an ErrorResponse. NULs, which would end a field early, are removed. The message is kept below the
// 30 000 bytes that libpq reads before ReadyForQuery; the detail is cut first.
void encode_error_response(const ErrorFields& fields, Bytes& out);
// Appends an error that a client of protocol 1 or 2 can read: 'E', "FATAL:  ", text, newline, NUL; no length
// word (src/backend/utils/error/elog.c, send_message_to_frontend).
void encode_old_error_response(std::string_view text, Bytes& out);

// Appends an Authentication message. AuthenticationOk and AuthenticationCleartextPassword have no data. The
// data of MD5Password is a salt, and the data of SASLContinue and SASLFinal is defined by the mechanism.
void encode_authentication(AuthenticationCode code, ByteView data, Bytes& out);

inline constexpr std::size_t kMd5SaltBytes = 4;
// Returns the salt in the data of AuthenticationMD5Password. It points into `data`.
[[nodiscard]] tl::expected<ByteView, DecodeError> decode_md5_salt(ByteView data);

}  // namespace pgveil::protocol
