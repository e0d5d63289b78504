// Base64 (RFC 4648, section 4), the encoding of bytes in SCRAM's messages.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "protocol/bytes.h"

namespace pgveil::protocol {

[[nodiscard]] std::string encode_base64(ByteView bytes);
// Returns nullopt for any text that encode_base64() cannot produce: it has no spaces, complete groups of
// four, padding only at the end, and no bits set in the padding. (pg_b64_decode() accepts more, but
// PostgreSQL never writes it.)
[[nodiscard]] std::optional<Bytes> decode_base64(std::string_view text);

}  // namespace pgveil::protocol
