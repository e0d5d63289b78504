// SCRAM-SHA-256 (RFC 5802, RFC 7677) as PostgreSQL speaks it: what both sides of an exchange share. The sides
// are in scram_client.h, towards a server, and in scram_server.h, towards a client. Neither hashes nor draws
// random bytes itself: both come from the caller.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "protocol/bytes.h"
#include "protocol/secret.h"

namespace pgveil::protocol {

// Whoever has a cryptographic library.
class ScramHash {
 public:
  virtual ~ScramHash() = default;

  [[nodiscard]] virtual SecretKey sha256(ByteView bytes) const = 0;
  [[nodiscard]] virtual SecretKey hmac_sha256(ByteView key, ByteView bytes) const = 0;
  // In a time that does not depend on where they differ.
  [[nodiscard]] virtual bool equal(ByteView left, ByteView right) const = 0;
};

// More than a server asks for in earnest (scram_iterations is 4096 by default), and about as much as a
// hostile one may cost us.
inline constexpr std::uint32_t kMaxScramIterations = 1'000'000;

// How a password becomes a SaltedPassword: PBKDF2-HMAC-SHA256 of what saslprep() makes of it.
struct ScramSalting {
  std::uint32_t iterations = 0;
  Bytes salt;
  bool operator==(const ScramSalting&) const = default;
};

// What logs in, and knows the server, without the password: as good as the password for one salting.
struct ScramKeys {
  SecretKey client_key;
  SecretKey server_key;
};
[[nodiscard]] ScramKeys keys_of(const SecretKey& salted_password, const ScramHash& hash);

// What a server holds of a password (pg_authid.rolpassword). With it a password can be checked and guessed;
// to log in with it takes the client key, which its owner shows in every login.
struct ScramSecret {
  ScramSalting salting;
  SecretKey stored_key;
  SecretKey server_key;
  bool is_mock = false;  // stands for nobody: no proof is right
};
// `SCRAM-SHA-256$4096:salt$StoredKey:ServerKey` (src/backend/libpq/auth-scram.c: parse_scram_secret), to the
// last byte; at most kMaxScramIterations.
[[nodiscard]] std::optional<ScramSecret> parse_scram_secret(std::string_view text);
[[nodiscard]] std::string format_scram_secret(const ScramSecret& secret);
[[nodiscard]] ScramSecret secret_of(const SecretKey& salted_password, ScramSalting salting,
                                    const ScramHash& hash);
// For a user without a secret, so that the exchange does not tell (auth-scram.c: mock_scram_secret): the salt
// is always the same for a user, as long as `random_key` is. `iterations` are those that users have.
[[nodiscard]] ScramSecret mock_scram_secret(std::string_view user, ByteView random_key,
                                            std::uint32_t iterations, const ScramHash& hash);

inline constexpr std::size_t kScramNonceBytes = 18;  // SCRAM_RAW_NONCE_LEN (scram-common.h)
// A side's part of the nonce. `random` must be drawn anew for every exchange.
[[nodiscard]] std::string scram_nonce(std::span<const std::uint8_t, kScramNonceBytes> random);
// %x21-2B / %x2D-7E (RFC 5802, section 7): what a nonce is made of.
[[nodiscard]] bool is_scram_printable(std::string_view text);

inline constexpr std::string_view kBindingHeader = "p=tls-server-end-point,,";

// A count of 1 or more, without sign, space or leading zero. One that is too large for its type is
// UINT32_MAX.
[[nodiscard]] std::optional<std::uint32_t> parse_iterations(std::string_view text);

// What client and server sign.
[[nodiscard]] std::string auth_message_of(std::string_view client_first_bare, std::string_view server_first,
                                          std::string_view client_final_without_proof);
// ClientProof of a ClientKey; and, since it is an exclusive or, ClientKey of a ClientProof.
[[nodiscard]] SecretKey with_client_signature(const SecretKey& key_or_proof, const SecretKey& stored_key,
                                              std::string_view auth_message, const ScramHash& hash);
[[nodiscard]] std::optional<SecretKey> decode_scram_key(std::string_view base64);

}  // namespace pgveil::protocol
