// SCRAM-SHA-256 (RFC 5802, RFC 7677) as PostgreSQL implements it: the parts that both sides of an exchange
// use. The sides are in scram_client.h, for the exchange with a server, and in scram_server.h, for the
// exchange with a client. The caller provides the hash functions and the random bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "protocol/bytes.h"
#include "protocol/secret.h"

namespace pgveil::protocol {

// The hash functions. The caller implements them, because protocol/ uses no cryptographic library.
class ScramHash {
 public:
  virtual ~ScramHash() = default;

  [[nodiscard]] virtual SecretKey sha256(ByteView bytes) const = 0;
  [[nodiscard]] virtual SecretKey hmac_sha256(ByteView key, ByteView bytes) const = 0;
  // Compares in a time that does not depend on where the bytes differ.
  [[nodiscard]] virtual bool equal(ByteView left, ByteView right) const = 0;
};

// The maximum number of iterations. It is more than servers use (the default of scram_iterations is 4096),
// and limits the time that a hostile server can cost us.
inline constexpr std::uint32_t kMaxScramIterations = 1'000'000;

// The parameters that turn a password into a SaltedPassword: PBKDF2-HMAC-SHA256 of the result of saslprep().
struct ScramSalting {
  std::uint32_t iterations = 0;
  Bytes salt;
  bool operator==(const ScramSalting&) const = default;
};

// The keys that log in, and verify the server, without the password. For one salting they are as good as the
// password.
struct ScramKeys {
  SecretKey client_key;
  SecretKey server_key;
};
[[nodiscard]] ScramKeys keys_of(const SecretKey& salted_password, const ScramHash& hash);

// A server's secret for a password (pg_authid.rolpassword). It allows to verify a password and to guess one.
// A login needs the client key, which the owner of the password shows in every login.
struct ScramSecret {
  ScramSalting salting;
  SecretKey stored_key;
  SecretKey server_key;
  bool is_mock = false;  // belongs to no user: every proof is wrong
};
// Parses `SCRAM-SHA-256$4096:salt$StoredKey:ServerKey` (src/backend/libpq/auth-scram.c: parse_scram_secret).
// Nothing may follow it, and it may have at most kMaxScramIterations.
[[nodiscard]] std::optional<ScramSecret> parse_scram_secret(std::string_view text);
[[nodiscard]] std::string format_scram_secret(const ScramSecret& secret);
[[nodiscard]] ScramSecret secret_of(const SecretKey& salted_password, ScramSalting salting,
                                    const ScramHash& hash);
// Returns a secret for a user without one, so that the exchange does not show whether the user exists
// (auth-scram.c: mock_scram_secret). A user's salt stays the same as long as `random_key` does. `iterations`
// is the number that real users have.
[[nodiscard]] ScramSecret mock_scram_secret(std::string_view user, ByteView random_key,
                                            std::uint32_t iterations, const ScramHash& hash);

inline constexpr std::size_t kScramNonceBytes = 18;  // SCRAM_RAW_NONCE_LEN (scram-common.h)
// Returns one side's part of the nonce. `random` must be new for every exchange.
[[nodiscard]] std::string scram_nonce(std::span<const std::uint8_t, kScramNonceBytes> random);
// Returns whether the text has only characters of a nonce: %x21-2B / %x2D-7E (RFC 5802, section 7).
[[nodiscard]] bool is_scram_printable(std::string_view text);

inline constexpr std::string_view kBindingHeader = "p=tls-server-end-point,,";

// Parses a count of 1 or more, without sign, space or leading zero. Returns UINT32_MAX for a larger count.
[[nodiscard]] std::optional<std::uint32_t> parse_iterations(std::string_view text);

// Returns the text that client and server sign.
[[nodiscard]] std::string auth_message_of(std::string_view client_first_bare, std::string_view server_first,
                                          std::string_view client_final_without_proof);
// Returns the ClientProof for a ClientKey. It is an exclusive or, so it also returns the ClientKey for a
// ClientProof.
[[nodiscard]] SecretKey with_client_signature(const SecretKey& key_or_proof, const SecretKey& stored_key,
                                              std::string_view auth_message, const ScramHash& hash);
[[nodiscard]] std::optional<SecretKey> decode_scram_key(std::string_view base64);

}  // namespace pgveil::protocol
