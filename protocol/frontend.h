// The messages that a client sends after its StartupMessage, as far as pgveil sends or reads them itself.
#pragma once

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

// The mechanism that a SASLInitialResponse chooses; points into `body`.
[[nodiscard]] tl::expected<std::string_view, DecodeError> decode_sasl_mechanism_choice(ByteView body);

void encode_terminate(Bytes& out);

}  // namespace pgveil::protocol
