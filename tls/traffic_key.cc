#include "tls/traffic_key.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>

#include <algorithm>
#include <cassert>
#include <new>

namespace pgveil::tls {

using Cipher = std::unique_ptr<EVP_CIPHER, Freed<EVP_CIPHER_free>>;
using Mac = std::unique_ptr<EVP_MAC, Freed<EVP_MAC_free>>;
using MacContext = std::unique_ptr<EVP_MAC_CTX, Freed<EVP_MAC_CTX_free>>;

// Looked up once: by name, OpenSSL does so for every connection.
struct CipherSuite {
  std::uint32_t id;
  std::size_t key_bytes;
  std::size_t hash_bytes;
  Cipher cipher;
  MacContext hmac;  // without a key, to be copied
};

namespace {

CipherSuite load(std::uint32_t id, const char* cipher, std::size_t key_bytes, const char* hash,
                 std::size_t hash_bytes) {
  CipherSuite suite{id, key_bytes, hash_bytes, Cipher(EVP_CIPHER_fetch(nullptr, cipher, nullptr)), nullptr};
  const Mac hmac(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
  if (hmac == nullptr) return suite;
  suite.hmac.reset(EVP_MAC_CTX_new(hmac.get()));
  const std::array parameters{
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, const_cast<char*>(hash), 0),
      OSSL_PARAM_construct_end()};
  if (EVP_MAC_CTX_set_params(suite.hmac.get(), parameters.data()) != 1) suite.hmac.reset();
  return suite;
}

// HKDF-Expand-Label with an empty context (RFC 8446, 7.1), for keys that need one round of the hash, as all
// here do.
void expand_label(const CipherSuite& suite, const TrafficSecret& secret, std::string_view label,
                  std::span<std::uint8_t> key) {
  constexpr std::string_view kPrefix = "tls13 ";
  std::array<std::uint8_t, 32> input;
  auto* end = input.data();
  *end++ = 0;
  *end++ = static_cast<std::uint8_t>(key.size());
  *end++ = static_cast<std::uint8_t>(kPrefix.size() + label.size());
  end = std::copy(kPrefix.begin(), kPrefix.end(), end);
  end = std::copy(label.begin(), label.end(), end);
  *end++ = 0;  // the context's length
  *end++ = 1;  // the round (RFC 5869, 2.3)

  std::array<std::uint8_t, TrafficSecret::kMostBytes> hash;
  assert(key.size() <= suite.hash_bytes);
  const MacContext hmac(EVP_MAC_CTX_dup(suite.hmac.get()));
  std::size_t size = 0;
  if (hmac == nullptr || EVP_MAC_init(hmac.get(), secret.view().data(), secret.view().size(), nullptr) != 1 ||
      EVP_MAC_update(hmac.get(), input.data(), static_cast<std::size_t>(end - input.data())) != 1 ||
      EVP_MAC_final(hmac.get(), hash.data(), &size, hash.size()) != 1)
    throw std::bad_alloc();
  std::copy_n(hash.begin(), key.size(), key.begin());
  OPENSSL_cleanse(hash.data(), hash.size());
}

int length(ByteView bytes) {
  return static_cast<int>(bytes.size());  // of a record
}

}  // namespace

TrafficSecret::TrafficSecret(ByteView bytes) : size_(bytes.size()) {
  assert(size_ <= kMostBytes);
  std::copy(bytes.begin(), bytes.end(), bytes_.begin());
}

TrafficSecret::~TrafficSecret() {
  OPENSSL_cleanse(bytes_.data(), bytes_.size());
}

const CipherSuite* find_cipher_suite(std::uint32_t id) {
  static const std::array suites{load(0x1301, "AES-128-GCM", 16, "SHA2-256", 32),
                                 load(0x1302, "AES-256-GCM", 32, "SHA2-384", 48),
                                 load(0x1303, "ChaCha20-Poly1305", 32, "SHA2-256", 32)};
  for (const auto& suite : suites)
    if (suite.id == id && suite.cipher != nullptr && suite.hmac != nullptr) return &suite;
  return nullptr;
}

TrafficKey::TrafficKey(const CipherSuite& suite, const TrafficSecret& secret, Use use)
    : suite_(suite), secret_(secret), context_(EVP_CIPHER_CTX_new()), use_(use) {
  assert(secret.view().size() == suite.hash_bytes);
  if (context_ == nullptr) throw std::bad_alloc();
  make_key();
}

TrafficKey::~TrafficKey() {
  OPENSSL_cleanse(base_.data(), base_.size());
}

void TrafficKey::make_key() {
  std::array<std::uint8_t, 32> memory;
  const auto key = std::span(memory).first(suite_.key_bytes);
  expand_label(suite_, secret_, "key", key);
  expand_label(suite_, secret_, "iv", base_);
  const bool is_made = EVP_CipherInit_ex2(context_.get(), suite_.cipher.get(), key.data(), nullptr,
                                          use_ == Use::seal ? 1 : 0, nullptr) == 1;
  OPENSSL_cleanse(memory.data(), memory.size());
  if (!is_made) throw std::bad_alloc();
  records_ = 0;
}

void TrafficKey::update() {
  std::array<std::uint8_t, TrafficSecret::kMostBytes> memory;
  const auto next = std::span(memory).first(suite_.hash_bytes);
  expand_label(suite_, secret_, "traffic upd", next);
  secret_ = TrafficSecret(next);
  OPENSSL_cleanse(memory.data(), memory.size());
  make_key();
}

// The number of the record, in network byte order and padded on the left, xor the key's own (RFC 8446, 5.3).
TrafficKey::Nonce TrafficKey::next_nonce() {
  Nonce nonce = base_;
  std::uint64_t number = records_++;
  for (std::size_t place = nonce.size(); number > 0; number >>= 8U)
    nonce[--place] ^= static_cast<std::uint8_t>(number);
  return nonce;
}

void TrafficKey::seal(ContentType type, ByteView content, std::span<std::uint8_t> record) {
  assert(record.size() == content.size() + kOverhead && record.size() <= kHeaderBytes + kMostBody);
  const std::size_t body_bytes = record.size() - kHeaderBytes;
  // Outside, every record is application data of TLS 1.2 (RFC 8446, 5.2).
  record[0] = static_cast<std::uint8_t>(ContentType::application_data);
  record[1] = 3;
  record[2] = 3;
  record[3] = static_cast<std::uint8_t>(body_bytes >> 8U);
  record[4] = static_cast<std::uint8_t>(body_bytes);
  auto* body = record.data() + kHeaderBytes;
  const auto inner_type = static_cast<std::uint8_t>(type);
  const Nonce nonce = next_nonce();
  EVP_CIPHER_CTX* context = context_.get();
  int ignored = 0;
  if (EVP_EncryptInit_ex2(context, nullptr, nullptr, nonce.data(), nullptr) != 1 ||
      EVP_EncryptUpdate(context, nullptr, &ignored, record.data(), static_cast<int>(kHeaderBytes)) != 1 ||
      EVP_EncryptUpdate(context, body, &ignored, content.data(), length(content)) != 1 ||
      EVP_EncryptUpdate(context, body + content.size(), &ignored, &inner_type, 1) != 1 ||
      EVP_EncryptFinal_ex(context, body + content.size() + 1, &ignored) != 1 ||
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, static_cast<int>(kTagBytes),
                          body + content.size() + 1) != 1)
    throw std::bad_alloc();
}

std::optional<TrafficKey::Opened> TrafficKey::open(ByteView record, std::span<std::uint8_t> content) {
  assert(record.size() >= kOverhead && content.size() >= record.size() - kHeaderBytes - kTagBytes);
  const auto header = record.first(kHeaderBytes);
  const auto sealed = record.subspan(kHeaderBytes, record.size() - kHeaderBytes - kTagBytes);
  const auto tag = record.last(kTagBytes);
  const Nonce nonce = next_nonce();
  EVP_CIPHER_CTX* context = context_.get();
  int ignored = 0;
  // OpenSSL only reads the tag, whatever the call says.
  if (EVP_DecryptInit_ex2(context, nullptr, nullptr, nonce.data(), nullptr) != 1 ||
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, length(tag),
                          const_cast<std::uint8_t*>(tag.data())) != 1 ||
      EVP_DecryptUpdate(context, nullptr, &ignored, header.data(), length(header)) != 1 ||
      EVP_DecryptUpdate(context, content.data(), &ignored, sealed.data(), length(sealed)) != 1 ||
      EVP_DecryptFinal_ex(context, content.data() + sealed.size(), &ignored) != 1)
    return std::nullopt;
  // Behind the content stands its type, and behind that any number of zeros.
  std::size_t end = sealed.size();
  while (end > 0 && content[end - 1] == 0) --end;
  if (end == 0) return Opened{0, 0};
  return Opened{content[end - 1], end - 1};
}

}  // namespace pgveil::tls
