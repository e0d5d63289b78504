// Random bytes, hashes for SCRAM and MD5 logins, bytes as hexadecimal text, comparison and wiping of secrets. Without SHA-256 or
// random numbers nothing can be done safely: if OpenSSL fails at one of them, the process aborts.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace pgveil::tls {

// Returns which of the functions below this OpenSSL cannot provide, and why; empty: it provides all. An
// example is a configuration that asks for FIPS on a machine without a FIPS provider. Must be called at the
// start of the process, before the functions below.
[[nodiscard]] std::string missing_algorithm();

void fill_random(std::span<std::uint8_t> bytes);
// Overwrites the secret with a write that the compiler does not remove (OPENSSL_cleanse), then empties it.
void wipe(std::string& secret);
void wipe(std::span<std::uint8_t> secret);

using Sha256 = std::array<std::uint8_t, 32>;

[[nodiscard]] Sha256 sha256(std::span<const std::uint8_t> bytes);
[[nodiscard]] Sha256 hmac_sha256(std::span<const std::uint8_t> key, std::span<const std::uint8_t> bytes);
// Computes SCRAM's SaltedPassword (RFC 5802: Hi). It is slow: each of the `iterations` (at least one) costs
// two hashes. It must not run on the thread of an event loop.
[[nodiscard]] Sha256 pbkdf2_hmac_sha256(std::string_view password, std::span<const std::uint8_t> salt,
                                        std::uint32_t iterations);

// Returns two lower-case digits for each byte.
[[nodiscard]] std::string hexadecimal(std::span<const std::uint8_t> bytes);
// Returns lower-case hexadecimal digits; nullopt if OpenSSL's provider refuses MD5, as the FIPS provider
// does.
[[nodiscard]] std::optional<std::string> md5_hex(std::span<const std::uint8_t> bytes);
// Returns the response to AuthenticationMD5Password: "md5" and 32 digits (src/common/md5_common.c:
// pg_md5_encrypt).
[[nodiscard]] std::optional<std::string> md5_password(std::string_view user, std::string_view password,
                                                      std::span<const std::uint8_t> salt);

// Compares in a time that does not depend on where the bytes differ. Returns false at once if the lengths
// differ.
[[nodiscard]] bool equal_in_constant_time(std::span<const std::uint8_t> left,
                                          std::span<const std::uint8_t> right);

}  // namespace pgveil::tls
