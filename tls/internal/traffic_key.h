// Encryption and decryption of single records of TLS 1.3 with one key (RFC 8446, 5.2 to 5.5), and the key
// update (7.2). It works between the caller's buffers, without an intermediate copy. This header is internal
// to tls/.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <tl/expected.hpp>

#include "tls/buffers.h"
#include "tls/internal/openssl.h"

namespace pgveil::tls {

using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, Freed<EVP_CIPHER_CTX_free>>;

// The secret from which the keys of one direction are derived. The destructor of every copy wipes it.
class TrafficSecret {
 public:
  static constexpr std::size_t kMaxBytes = 48;  // of SHA-384, the longest hash of a cipher suite

  TrafficSecret() = default;
  // `bytes` must not be longer than kMaxBytes.
  explicit TrafficSecret(ByteView bytes);
  TrafficSecret(const TrafficSecret&) = default;
  TrafficSecret& operator=(const TrafficSecret&) = default;
  ~TrafficSecret();

  [[nodiscard]] ByteView view() const { return ByteView(bytes_).first(size_); }
  [[nodiscard]] bool empty() const { return size_ == 0; }

 private:
  std::array<std::uint8_t, kMaxBytes> bytes_{};
  std::size_t size_ = 0;
};

// The parts of a TLS 1.3 cipher suite that records need. Exists as long as the program.
struct CipherSuite;
// Finds a suite by IANA's number (0x1302: TLS_AES_256_GCM_SHA384). Returns null if it is not known here, or
// if this OpenSSL does not support it.
[[nodiscard]] const CipherSuite* find_cipher_suite(std::uint32_t id);
// Returns the size of the suite's hash, which is also the size of its secrets, in bytes.
[[nodiscard]] std::size_t hash_bytes(const CipherSuite& suite);

// The content types that are allowed after a handshake (RFC 8446, 5.1).
enum class ContentType : std::uint8_t { alert = 21, handshake = 22, application_data = 23 };

class TrafficKey {
 public:
  enum class Use { seal, open };

  static constexpr std::size_t kHeaderBytes = 5;
  static constexpr std::size_t kTagBytes = 16;
  // The bytes of a record beside its content: header, content type and tag.
  static constexpr std::size_t kOverhead = kHeaderBytes + 1 + kTagBytes;
  static constexpr std::size_t kMaxContent = 16'384;
  // The maximum size after the header, padding included (RFC 8446, 5.2).
  static constexpr std::size_t kMaxBody = kMaxContent + 256;

  // Derives the first key of `secret`, whose size must be that of the suite's hash. The caller must check
  // is_usable(). The number of the first record is 0 (RFC 8446, 5.3); tests use others, near the last number.
  TrafficKey(const CipherSuite& suite, const TrafficSecret& secret, Use use, std::uint64_t first_record = 0);
  ~TrafficKey();
  TrafficKey(const TrafficKey&) = delete;
  TrafficKey& operator=(const TrafficKey&) = delete;

  // Returns false if OpenSSL failed to create the key, or failed later. Then the key must not be used any
  // more.
  [[nodiscard]] bool is_usable() const { return is_usable_; }

  // Fills `record`, which must be kOverhead bytes larger than `content`, and must have at most kMaxBody
  // bytes after its header. A peer accepts a content of kMaxContent. Returns false if OpenSSL fails, or if
  // all record numbers of this key are used.
  [[nodiscard]] bool seal(ContentType type, ByteView content, std::span<std::uint8_t> record);

  enum class Fault {
    not_authentic,  // not sealed with the peer's key, or in the wrong order
    internal,       // OpenSSL failed, or all record numbers are used
  };
  struct Opened {
    std::uint8_t type;  // as received, see ContentType
    std::size_t size;   // of the data at the front of `content`
  };
  // Opens a complete record, header included, of at least kOverhead bytes. `content` must have room for all
  // bytes between header and tag. After a fault its bytes must not be used. A type of 0 means that the record
  // contained only padding.
  [[nodiscard]] tl::expected<Opened, Fault> open(ByteView record, std::span<std::uint8_t> content);

  // Derives the next secret and the next key. Records are counted from 0 again. The caller must check
  // is_usable().
  void update();
  // Returns how many records were sealed or opened with this key.
  [[nodiscard]] std::uint64_t records() const { return records_; }

 private:
  static constexpr std::size_t kNonceBytes = 12;
  using Nonce = std::array<std::uint8_t, kNonceBytes>;

  void make_key();
  [[nodiscard]] Nonce next_nonce();
  [[nodiscard]] bool has_numbers() const { return is_usable_ && records_ != UINT64_MAX; }

  const CipherSuite& suite_;
  TrafficSecret secret_;
  CipherContext context_;
  Nonce base_{};
  Use use_;
  bool is_usable_ = false;
  std::uint64_t records_ = 0;
};

}  // namespace pgveil::tls
