#include "tls/internal/traffic_key.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <new>
#include <string_view>

namespace pgveil::tls {

using Cipher = std::unique_ptr<EVP_CIPHER, Freed<EVP_CIPHER_free>>;
using Kdf = std::unique_ptr<EVP_KDF, Freed<EVP_KDF_free>>;
using KdfContext = std::unique_ptr<EVP_KDF_CTX, Freed<EVP_KDF_CTX_free>>;

// Created once. By name, OpenSSL would search for the algorithms for every connection.
struct CipherSuite {
  std::uint32_t id;
  std::size_t key_bytes;
  std::size_t hash_bytes;
  const char* hash;
  Cipher cipher;
  Kdf kdf;  // HKDF-Expand-Label
};

namespace {

// OpenSSL's parameters are pointers to non-const values, but OpenSSL does not change these.
OSSL_PARAM text_parameter(const char* name, const char* value) {
  return OSSL_PARAM_construct_utf8_string(name, const_cast<char*>(value), 0);
}
OSSL_PARAM bytes_parameter(const char* name, ByteView value) {
  return OSSL_PARAM_construct_octet_string(name, const_cast<std::uint8_t*>(value.data()), value.size());
}

CipherSuite load(std::uint32_t id, const char* cipher, std::size_t key_bytes, const char* hash,
                 std::size_t hash_bytes) {
  return {id,
          key_bytes,
          hash_bytes,
          hash,
          Cipher(EVP_CIPHER_fetch(nullptr, cipher, nullptr)),
          Kdf(EVP_KDF_fetch(nullptr, OSSL_KDF_NAME_TLS1_3_KDF, nullptr))};
}

// HKDF-Expand-Label with an empty context (RFC 8446, 7.1). Returns false if OpenSSL fails.
bool expand_label(const CipherSuite& suite, const TrafficSecret& secret, std::string_view label,
                  std::span<std::uint8_t> key) {
  const KdfContext context(EVP_KDF_CTX_new(suite.kdf.get()));  // OpenSSL 3.0 cannot copy one
  int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
  const std::array parameters{OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
                              text_parameter(OSSL_KDF_PARAM_DIGEST, suite.hash),
                              bytes_parameter(OSSL_KDF_PARAM_KEY, secret.view()),
                              bytes_parameter(OSSL_KDF_PARAM_PREFIX, bytes_in("tls13 ")),
                              bytes_parameter(OSSL_KDF_PARAM_LABEL, bytes_in(label)),
                              OSSL_PARAM_construct_end()};
  return context != nullptr && EVP_KDF_derive(context.get(), key.data(), key.size(), parameters.data()) == 1;
}

std::uint64_t in_network_order(std::uint64_t number) {
  return std::endian::native == std::endian::little ? __builtin_bswap64(number) : number;
}

int length(ByteView bytes) {
  return static_cast<int>(bytes.size());  // a record fits into an int
}

}  // namespace

TrafficSecret::TrafficSecret(ByteView bytes) : size_(bytes.size()) {
  assert(size_ <= kMaxBytes);
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
    if (suite.id == id && suite.cipher != nullptr && suite.kdf != nullptr) return &suite;
  return nullptr;
}

std::size_t hash_bytes(const CipherSuite& suite) {
  return suite.hash_bytes;
}

TrafficKey::TrafficKey(const CipherSuite& suite, const TrafficSecret& secret, Use use,
                       std::uint64_t first_record)
    : suite_(suite), secret_(secret), context_(EVP_CIPHER_CTX_new()), use_(use) {
  assert(secret.view().size() == suite.hash_bytes);
  if (context_ == nullptr) throw std::bad_alloc();
  make_key();
  records_ = first_record;
}

TrafficKey::~TrafficKey() {
  OPENSSL_cleanse(base_.data(), base_.size());
}

void TrafficKey::make_key() {
  std::array<std::uint8_t, 32> memory;
  const auto key = std::span(memory).first(suite_.key_bytes);
  is_usable_ = expand_label(suite_, secret_, "key", key) && expand_label(suite_, secret_, "iv", base_) &&
               EVP_CipherInit_ex2(context_.get(), suite_.cipher.get(), key.data(), nullptr,
                                  use_ == Use::seal ? 1 : 0, nullptr) == 1;
  OPENSSL_cleanse(memory.data(), memory.size());
  records_ = 0;
}

void TrafficKey::update() {
  std::array<std::uint8_t, TrafficSecret::kMaxBytes> memory;
  const auto next = std::span(memory).first(suite_.hash_bytes);
  is_usable_ = is_usable_ && expand_label(suite_, secret_, "traffic upd", next);
  if (is_usable_) secret_ = TrafficSecret(next);
  OPENSSL_cleanse(memory.data(), memory.size());
  if (is_usable_) make_key();
}

// The nonce is the number of the record, in network byte order and padded on the left, xor the key's IV (RFC
// 8446, 5.3).
TrafficKey::Nonce TrafficKey::next_nonce() {
  constexpr std::size_t kPadding = kNonceBytes - sizeof records_;
  Nonce nonce = base_;
  std::uint64_t end = 0;
  std::memcpy(&end, nonce.data() + kPadding, sizeof end);
  end ^= in_network_order(records_++);
  std::memcpy(nonce.data() + kPadding, &end, sizeof end);
  return nonce;
}

bool TrafficKey::seal(ContentType type, ByteView content, std::span<std::uint8_t> record) {
  assert(record.size() == content.size() + kOverhead && record.size() <= kHeaderBytes + kMaxBody);
  if (!has_numbers()) return false;
  const std::size_t body_bytes = record.size() - kHeaderBytes;
  // The header of every record declares application data of TLS 1.2 (RFC 8446, 5.2).
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
  is_usable_ =
      EVP_EncryptInit_ex2(context, nullptr, nullptr, nonce.data(), nullptr) == 1 &&
      EVP_EncryptUpdate(context, nullptr, &ignored, record.data(), static_cast<int>(kHeaderBytes)) == 1 &&
      EVP_EncryptUpdate(context, body, &ignored, content.data(), length(content)) == 1 &&
      EVP_EncryptUpdate(context, body + content.size(), &ignored, &inner_type, 1) == 1 &&
      EVP_EncryptFinal_ex(context, body + content.size() + 1, &ignored) == 1 &&
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, static_cast<int>(kTagBytes),
                          body + content.size() + 1) == 1;
  return is_usable_;
}

tl::expected<TrafficKey::Opened, TrafficKey::Fault> TrafficKey::open(ByteView record,
                                                                     std::span<std::uint8_t> content) {
  assert(record.size() >= kOverhead && content.size() >= record.size() - kHeaderBytes - kTagBytes);
  if (!has_numbers()) return tl::unexpected(Fault::internal);
  const auto header = record.first(kHeaderBytes);
  const auto sealed = record.subspan(kHeaderBytes, record.size() - kHeaderBytes - kTagBytes);
  const auto tag = record.last(kTagBytes);
  const Nonce nonce = next_nonce();
  EVP_CIPHER_CTX* context = context_.get();
  int ignored = 0;
  // OpenSSL only reads the tag, although the parameter is not const. Only the last call verifies the record.
  is_usable_ = EVP_DecryptInit_ex2(context, nullptr, nullptr, nonce.data(), nullptr) == 1 &&
               EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, length(tag),
                                   const_cast<std::uint8_t*>(tag.data())) == 1 &&
               EVP_DecryptUpdate(context, nullptr, &ignored, header.data(), length(header)) == 1 &&
               EVP_DecryptUpdate(context, content.data(), &ignored, sealed.data(), length(sealed)) == 1;
  if (!is_usable_) return tl::unexpected(Fault::internal);
  if (EVP_DecryptFinal_ex(context, content.data() + sealed.size(), &ignored) != 1)
    return tl::unexpected(Fault::not_authentic);
  // The plaintext is the content, then one byte for its type, then any number of zeros.
  std::size_t end = sealed.size();
  while (end > 0 && content[end - 1] == 0) --end;
  if (end == 0) return Opened{0, 0};
  return Opened{content[end - 1], end - 1};
}

}  // namespace pgveil::tls
