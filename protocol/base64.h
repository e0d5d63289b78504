// Base64 (RFC 4648, section 4), the encoding of bytes in SCRAM's messages.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "protocol/bytes.h"

namespace pgveil::protocol {

[[nodiscard]] std::string encode_base64(ByteView bytes);
// Decodes text that encode_base64() can produce: without spaces, in complete groups of four, with padding only
// at the end, and with no bits set in the padding. Returns nullopt for any other text. (pg_b64_decode()
// accepts more, but PostgreSQL writes only such text.)
[[nodiscard]] std::optional<Bytes> decode_base64(std::string_view text);

}  // namespace pgveil::protocol
