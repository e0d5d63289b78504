#include "protocol/scram.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "protocol/backend.h"
#include "protocol/base64.h"

namespace pgveil::protocol {
namespace {

constexpr std::size_t kMockSaltBytes = 16;  // SCRAM_DEFAULT_SALT_LEN: the size of a real salt

// Removes the text before `separator`, and the separator, from `text`, and returns it; nullopt if there is no
// separator.
std::optional<std::string_view> take_until(char separator, std::string_view& text) {
  const std::size_t size = text.find(separator);
  if (size == text.npos) return std::nullopt;
  const auto part = text.substr(0, size);
  text.remove_prefix(size + 1);
  return part;
}

}  // namespace

ScramKeys keys_of(const SecretKey& salted_password, const ScramHash& hash) {
  return {hash.hmac_sha256(salted_password.view(), as_bytes("Client Key")),
          hash.hmac_sha256(salted_password.view(), as_bytes("Server Key"))};
}

std::optional<ScramSecret> parse_scram_secret(std::string_view text) {
  const auto mechanism = take_until('$', text);
  const auto iterations = take_until(':', text);
  const auto salt = take_until('$', text);
  const auto stored_key = take_until(':', text);
  if (!mechanism || *mechanism != kScramSha256 || !iterations || !salt || !stored_key) return std::nullopt;

  const auto count = parse_iterations(*iterations);
  auto salt_bytes = decode_base64(*salt);
  auto stored = decode_scram_key(*stored_key);
  auto server = decode_scram_key(text);
  if (!count || *count > kMaxScramIterations || !salt_bytes || salt_bytes->empty() || !stored || !server)
    return std::nullopt;
  return ScramSecret{{*count, std::move(*salt_bytes)}, *stored, *server};
}

std::string format_scram_secret(const ScramSecret& secret) {
  return std::string(kScramSha256) + '$' + std::to_string(secret.salting.iterations) + ':' +
         encode_base64(secret.salting.salt) + '$' + encode_base64(secret.stored_key.view()) + ':' +
         encode_base64(secret.server_key.view());
}

ScramSecret secret_of(const SecretKey& salted_password, ScramSalting salting, const ScramHash& hash) {
  const ScramKeys keys = keys_of(salted_password, hash);
  return {std::move(salting), hash.sha256(keys.client_key.view()), keys.server_key};
}

ScramSecret mock_scram_secret(std::string_view user, ByteView random_key, std::uint32_t iterations,
                              const ScramHash& hash) {
  const SecretKey mac = hash.hmac_sha256(random_key, as_bytes(user));
  const auto salt = mac.view().first(kMockSaltBytes);
  return {{iterations, Bytes(salt.begin(), salt.end())}, {}, {}, true};
}

std::string scram_nonce(std::span<const std::uint8_t, kScramNonceBytes> random) {
  return encode_base64(random);
}

bool is_scram_printable(std::string_view text) {
  return std::ranges::all_of(text, [](char one) { return one >= 0x21 && one <= 0x7e && one != ','; });
}

std::optional<std::uint32_t> parse_iterations(std::string_view text) {
  // posit-number = %x31-39 *DIGIT
  if (text.empty() || text.front() < '1' || text.front() > '9') return std::nullopt;
  std::uint32_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (end != text.data() + text.size()) return std::nullopt;
  return error == std::errc::result_out_of_range ? UINT32_MAX : count;
}

std::string auth_message_of(std::string_view client_first_bare, std::string_view server_first,
                            std::string_view client_final_without_proof) {
  std::string message(client_first_bare);
  message.append(",").append(server_first).append(",").append(client_final_without_proof);
  return message;
}

SecretKey with_client_signature(const SecretKey& key_or_proof, const SecretKey& stored_key,
                                std::string_view auth_message, const ScramHash& hash) {
  SecretKey result = hash.hmac_sha256(stored_key.view(), as_bytes(auth_message));
  for (std::size_t place = 0; place < SecretKey::kBytes; ++place)
    result.bytes()[place] ^= key_or_proof.view()[place];
  return result;
}

std::optional<SecretKey> decode_scram_key(std::string_view base64) {
  auto bytes = decode_base64(base64);
  if (!bytes) return std::nullopt;
  std::optional<SecretKey> key;
  if (bytes->size() == SecretKey::kBytes) std::ranges::copy(*bytes, key.emplace().bytes().begin());
  wipe_secret(*bytes);
  return key;
}

}  // namespace pgveil::protocol
