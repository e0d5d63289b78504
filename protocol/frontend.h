// The messages that a client sends after its StartupMessage, as far as pgveil sends or reads them itself.
#pragma once

#include <optional>
#include <string_view>
#include <tl/expected.hpp>

#include "protocol/bytes.h"
#include "protocol/decoded.h"

namespace pgveil::protocol {

// PasswordMessage, SASLInitialResponse, SASLResponse: only what was asked for tells which one it is.
inline constexpr char kPasswordMessage = 'p';
inline constexpr char kTerminate = 'X';
// PG_MAX_AUTH_TOKEN_LENGTH (libpq-be.h): the longest answer that a server reads, length word included.
inline constexpr std::uint32_t kMaxPasswordMessageLength = 65'535;

void encode_terminate(Bytes& out);

// PG_MAX_SASL_MESSAGE_LENGTH (src/backend/libpq/auth-scram.c): of a SCRAM message from a client, length word
// included.
inline constexpr std::uint32_t kMaxScramMessageLength = 1'024;

// The body of a PasswordMessage: a cleartext password, or the answer to MD5; points into `body`.
[[nodiscard]] tl::expected<std::string_view, DecodeError> decode_password(ByteView body);
// `password` must hold no NUL.
void encode_password(std::string_view password, Bytes& out);

struct SaslInitialResponse {
  std::string_view mechanism;
  std::optional<ByteView> data;  // nullopt: none, which is not the same as empty
};
// Points into `body`.
[[nodiscard]] tl::expected<SaslInitialResponse, DecodeError> decode_sasl_initial_response(ByteView body);
void encode_sasl_initial_response(const SaslInitialResponse& response, Bytes& out);
// Its body, when it comes, is the data and nothing else.
void encode_sasl_response(ByteView data, Bytes& out);

}  // namespace pgveil::protocol
