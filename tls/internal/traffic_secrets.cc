#include "tls/internal/traffic_secrets.h"

#include <openssl/crypto.h>

#include <array>
#include <charconv>
#include <string_view>

namespace pgveil::tls {
namespace {

int place_of_secrets() {
  static const int place = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return place;
}

// Returns an empty secret if the text is not hexadecimal, or too long.
TrafficSecret secret_from(std::string_view hexadecimal) {
  std::array<std::uint8_t, TrafficSecret::kMaxBytes> bytes;
  const std::size_t size = hexadecimal.size() / 2;
  if (hexadecimal.size() % 2 != 0 || size > bytes.size()) return {};
  for (std::size_t i = 0; i < size; ++i) {
    const char* digits = hexadecimal.data() + 2 * i;
    if (std::from_chars(digits, digits + 2, bytes[i], 16).ptr != digits + 2) return {};
  }
  const TrafficSecret secret(ByteView(bytes).first(size));
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return secret;
}

// Receives a line of OpenSSL's key log: a label, the client's random, and a secret, the last two in
// hexadecimal. OpenSSL wipes `line`.
void on_keylog_line(const SSL* ssl, const char* line) {
  auto* secrets = static_cast<TrafficSecrets*>(SSL_get_ex_data(ssl, place_of_secrets()));
  const std::string_view text(line);
  if (secrets == nullptr) return;
  const auto secret = [&] { return secret_from(text.substr(text.rfind(' ') + 1)); };
  if (text.starts_with("CLIENT_TRAFFIC_SECRET_0 ")) secrets->client = secret();
  if (text.starts_with("SERVER_TRAFFIC_SECRET_0 ")) secrets->server = secret();
}

}  // namespace

bool fit(const TrafficSecrets& secrets, const CipherSuite& suite) {
  const std::size_t size = hash_bytes(suite);
  return secrets.client.view().size() == size && secrets.server.view().size() == size;
}

void tell_traffic_secrets(SSL_CTX* context) {
  SSL_CTX_set_keylog_callback(context, on_keylog_line);
}

void tell_traffic_secrets(SSL* ssl, TrafficSecrets* to) {
  SSL_set_ex_data(ssl, place_of_secrets(), to);
}

}  // namespace pgveil::tls
