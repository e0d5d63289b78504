// Base64 (RFC 4648, section 4), as SCRAM's messages carry their bytes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "protocol/bytes.h"

namespace pgveil::protocol {

[[nodiscard]] std::string encode_base64(ByteView bytes);
// nullopt for everything but the one text that encode_base64() makes of some bytes: no spaces, whole groups
// of four, padding at the end alone, no bits in it. (pg_b64_decode() is more lenient; its own writing is
// not.)
[[nodiscard]] std::optional<Bytes> decode_base64(std::string_view text);

}  // namespace pgveil::protocol
