// Random bytes, hashes for SCRAM and MD5 logins, comparing and wiping of secrets. Where OpenSSL cannot do one
// of these at all (no SHA-256, no randomness) nothing can be done safely: the process ends.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace pgveil::tls {

// Returns which of the functions below this OpenSSL cannot provide, and why; empty: none. An example is a
// configuration that asks for FIPS on a machine without a FIPS provider. To be called first, at the start.
[[nodiscard]] std::string missing_algorithm();

void fill_random(std::span<std::uint8_t> bytes);
// Overwrites in a way that the compiler keeps (OPENSSL_cleanse), then empties.
void wipe(std::string& secret);
void wipe(std::span<std::uint8_t> secret);

using Sha256 = std::array<std::uint8_t, 32>;

[[nodiscard]] Sha256 sha256(std::span<const std::uint8_t> bytes);
[[nodiscard]] Sha256 hmac_sha256(std::span<const std::uint8_t> key, std::span<const std::uint8_t> bytes);
// SCRAM's SaltedPassword (RFC 5802: Hi). Takes its time: `iterations` times two hashes, at least one. Not for
// the thread of a loop.
[[nodiscard]] Sha256 pbkdf2_hmac_sha256(std::string_view password, std::span<const std::uint8_t> salt,
                                        std::uint32_t iterations);

// In lower-case hexadecimal; nullopt where OpenSSL's provider refuses MD5, as FIPS's does.
[[nodiscard]] std::optional<std::string> md5_hex(std::span<const std::uint8_t> bytes);
// The answer to an AuthenticationMD5Password: "md5" and 32 digits (src/common/md5_common.c: pg_md5_encrypt).
[[nodiscard]] std::optional<std::string> md5_password(std::string_view user, std::string_view password,
                                                      std::span<const std::uint8_t> salt);

// Takes the same time wherever they differ. Of different lengths: false, at once.
[[nodiscard]] bool equal_in_constant_time(std::span<const std::uint8_t> left,
                                          std::span<const std::uint8_t> right);

}  // namespace pgveil::tls
