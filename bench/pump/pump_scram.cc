#include "pump_scram.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace pump {
namespace {

constexpr std::string_view kSalt = "pgveil bench";
constexpr int kIterations = 4096;  // PostgreSQL's default
constexpr std::string_view kBindingHeader = "p=tls-server-end-point,,";
constexpr std::size_t kNonceBytes = 18;  // SCRAM_RAW_NONCE_LEN

// Ends the program if a call of OpenSSL failed: none of them can fail for a valid input.
void need(bool done) {
  if (done) return;
  std::fputs("pump: OpenSSL cannot do SCRAM\n", stderr);
  std::_Exit(1);
}

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

template <class Bytes>
std::string_view text_of(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Sha256 hmac(const Sha256& key, std::string_view text) {
  Sha256 result{};
  need(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), bytes_of(text), text.size(),
            result.data(), nullptr) != nullptr);
  return result;
}

Sha256 sha256(const Sha256& bytes) {
  Sha256 result{};
  SHA256(bytes.data(), bytes.size(), result.data());
  return result;
}

std::string base64(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');  // with room for OpenSSL's terminator
  text.resize(static_cast<std::size_t>(EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                                       bytes_of(bytes), static_cast<int>(bytes.size()))));
  return text;
}

// Decodes 32 bytes from 44 characters; nullopt if they are not valid.
std::optional<Sha256> from_base64(std::string_view text) {
  std::array<unsigned char, 33> padded{};
  if (text.size() != 44 || !text.ends_with('=') ||
      EVP_DecodeBlock(padded.data(), bytes_of(text), static_cast<int>(text.size())) != 33)
    return std::nullopt;
  Sha256 bytes{};
  std::copy_n(padded.begin(), bytes.size(), bytes.begin());
  return bytes;
}

}  // namespace

ScramSecret::ScramSecret(std::string_view password, const X509* certificate) {
  Sha256 salted{};
  need(PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), bytes_of(kSalt),
                         static_cast<int>(kSalt.size()), kIterations, EVP_sha256(),
                         static_cast<int>(salted.size()), salted.data()) == 1);
  stored_key_ = sha256(hmac(salted, "Client Key"));
  server_key_ = hmac(salted, "Server Key");
  Sha256 end_point{};
  need(X509_digest(certificate, EVP_sha256(), end_point.data(), nullptr) == 1);
  binding_ = base64(std::string(kBindingHeader) += text_of(end_point));
}

// Takes "p=tls-server-end-point,,n=,r=NONCE". A login without channel binding is refused, although the server
// offers it, too.
std::optional<std::string> ScramLogin::first(std::string_view client_first) {
  if (!client_first.starts_with(kBindingHeader)) return std::nullopt;
  const auto bare = client_first.substr(kBindingHeader.size());
  const auto nonce = bare.find(",r=");
  if (!bare.starts_with("n=") || nonce == std::string_view::npos) return std::nullopt;
  std::array<unsigned char, kNonceBytes> ours{};
  need(RAND_bytes(ours.data(), static_cast<int>(ours.size())) == 1);
  nonce_ = std::string(bare.substr(nonce + 3)) + base64(text_of(ours));
  std::string answer = "r=" + nonce_ + ",s=" + base64(kSalt) + ",i=" + std::to_string(kIterations);
  transcript_ = std::string(bare) + ',' + answer;
  return answer;
}

// Takes "c=BINDING,r=NONCE,p=PROOF".
std::optional<std::string> ScramLogin::final(std::string_view client_final) {
  const auto without_proof = "c=" + secret_.binding_ + ",r=" + nonce_;
  if (!client_final.starts_with(without_proof + ",p=")) return std::nullopt;
  const auto proof = from_base64(client_final.substr(without_proof.size() + 3));
  if (!proof) return std::nullopt;
  const auto auth_message = transcript_ + ',' + without_proof;
  auto client_key = hmac(secret_.stored_key_, auth_message);  // ClientSignature, until the XOR with the proof
  for (std::size_t i = 0; i < client_key.size(); ++i) client_key[i] ^= (*proof)[i];
  if (sha256(client_key) != secret_.stored_key_) return std::nullopt;
  return "v=" + base64(text_of(hmac(secret_.server_key_, auth_message)));
}

}  // namespace pump
