// Records of TLS 1.3 under one key: sealed and opened (RFC 8446, 5.2 to 5.5), and the next key where it is
// time for one (7.2). Between the caller's buffers, without a copy in between. For the .cc files of this
// layer only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <tl/expected.hpp>

#include "tls/internal/openssl.h"

namespace pgveil::tls {

using ByteView = std::span<const std::uint8_t>;
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, Freed<EVP_CIPHER_CTX_free>>;

// What the keys of one direction are made from. Every copy is wiped when it goes.
class TrafficSecret {
 public:
  static constexpr std::size_t kMostBytes = 48;  // of SHA-384, the longest hash of a cipher suite

  TrafficSecret() = default;
  // At most kMostBytes.
  explicit TrafficSecret(ByteView bytes);
  TrafficSecret(const TrafficSecret&) = default;
  TrafficSecret& operator=(const TrafficSecret&) = default;
  ~TrafficSecret();

  [[nodiscard]] ByteView view() const { return ByteView(bytes_).first(size_); }
  [[nodiscard]] bool empty() const { return size_ == 0; }

 private:
  std::array<std::uint8_t, kMostBytes> bytes_{};
  std::size_t size_ = 0;
};

// A cipher suite of TLS 1.3, as far as records need it. Lives as long as the program.
struct CipherSuite;
// By IANA's number (0x1302: TLS_AES_256_GCM_SHA384). Null for one that is not known here, or for which this
// OpenSSL has not all that is needed.
[[nodiscard]] const CipherSuite* find_cipher_suite(std::uint32_t id);
// The size of its hash, and so of its secrets, in bytes.
[[nodiscard]] std::size_t hash_bytes(const CipherSuite& suite);

// What a record is about (RFC 8446, 5.1). Others are not known after a handshake.
enum class ContentType : std::uint8_t { alert = 21, handshake = 22, application_data = 23 };

class TrafficKey {
 public:
  enum class Use { seal, open };

  static constexpr std::size_t kHeaderBytes = 5;
  static constexpr std::size_t kTagBytes = 16;
  // What a record has beside its content: header, content type and tag.
  static constexpr std::size_t kOverhead = kHeaderBytes + 1 + kTagBytes;
  static constexpr std::size_t kMostContent = 16'384;
  // What may follow the header, padding included (RFC 8446, 5.2).
  static constexpr std::size_t kMostBody = kMostContent + 256;

  // The first key of `secret`, whose size is that of the suite's hash. Check is_usable(). The number of the
  // first record is 0 (RFC 8446, 5.3); tests begin near the last.
  TrafficKey(const CipherSuite& suite, const TrafficSecret& secret, Use use, std::uint64_t first_record = 0);
  ~TrafficKey();
  TrafficKey(const TrafficKey&) = delete;
  TrafficKey& operator=(const TrafficKey&) = delete;

  // False if OpenSSL failed to make the key, or failed later: then nothing can be sealed or opened any more.
  [[nodiscard]] bool is_usable() const { return is_usable_; }

  // Fills `record`, which has kOverhead bytes more than `content`, and no more than kMostBody after its
  // header; a peer accepts a content of kMostContent. False if OpenSSL fails, or if this key has numbered all
  // the records that it can.
  [[nodiscard]] bool seal(ContentType type, ByteView content, std::span<std::uint8_t> record);

  enum class Fault {
    not_authentic,  // not sealed with the peer's key, or out of its order
    internal,       // OpenSSL failed, or there are no numbers left
  };
  struct Opened {
    std::uint8_t type;  // as it came: see ContentType
    std::size_t size;   // of the content, at the front of `content`
  };
  // Opens a whole record, header included, of at least kOverhead bytes. `content` has room for what is
  // between header and tag; after a fault, what it holds must not be used. A type of 0 says that there was
  // only padding.
  [[nodiscard]] tl::expected<Opened, Fault> open(ByteView record, std::span<std::uint8_t> content);

  // The next generation: new secret, new key, and the records are counted from 0. Check is_usable().
  void update();
  // How many were sealed or opened with this key.
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
