// The messages after a client's StartupMessage that pgveil sends or reads itself.
#pragma once

#include <optional>
#include <string_view>
#include <tl/expected.hpp>

#include "protocol/bytes.h"
#include "protocol/decoded.h"

namespace pgveil::protocol {

// PasswordMessage, SASLInitialResponse and SASLResponse have the same type. The preceding request determines
// which of them it is.
inline constexpr char kPasswordMessage = 'p';
inline constexpr char kTerminate = 'X';
inline constexpr char kQuery = 'Q';
inline constexpr char kParse = 'P';
inline constexpr char kBind = 'B';
inline constexpr char kDescribe = 'D';
inline constexpr char kExecute = 'E';
inline constexpr char kClose = 'C';
inline constexpr char kFlush = 'H';
inline constexpr char kSync = 'S';
inline constexpr char kCopyData = 'd';
inline constexpr char kCopyDone = 'c';
inline constexpr char kCopyFail = 'f';
inline constexpr char kFunctionCall = 'F';
// PG_MAX_AUTH_TOKEN_LENGTH (libpq-be.h): the longest response that a server reads, length word included.
inline constexpr std::uint32_t kMaxPasswordMessageLength = 65'535;

void encode_terminate(Bytes& out);
// Appends a simple query. `sql` must not contain a NUL.
void encode_query(std::string_view sql, Bytes& out);

// PG_MAX_SASL_MESSAGE_LENGTH (src/backend/libpq/auth-scram.c): the longest SCRAM message of a client, length
// word included.
inline constexpr std::uint32_t kMaxScramMessageLength = 1'024;

// Decodes the body of a PasswordMessage: a cleartext password, or the response to MD5. The result points into
// `body`.
[[nodiscard]] tl::expected<std::string_view, DecodeError> decode_password(ByteView body);
// Appends a PasswordMessage. `password` must not contain a NUL.
void encode_password(std::string_view password, Bytes& out);

struct SaslInitialResponse {
  std::string_view mechanism;
  std::optional<ByteView> data;  // nullopt: absent, which is different from empty
};
// Decodes a SASLInitialResponse. The result points into `body`.
[[nodiscard]] tl::expected<SaslInitialResponse, DecodeError> decode_sasl_initial_response(ByteView body);
void encode_sasl_initial_response(const SaslInitialResponse& response, Bytes& out);
// Appends a SASLResponse. Its body consists of the data only.
void encode_sasl_response(ByteView data, Bytes& out);

}  // namespace pgveil::protocol
