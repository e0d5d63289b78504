// Records of TLS 1.3 under one key: sealed and opened (RFC 8446, 5.2 to 5.5), and the next key where it is
// time for one (7.2). Between the caller's buffers, without a copy in between. For the .cc files of this
// layer only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "tls/openssl.h"

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
// By IANA's number (0x1302: TLS_AES_256_GCM_SHA384); null for one that is not known here.
[[nodiscard]] const CipherSuite* find_cipher_suite(std::uint32_t id);

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

  // The first key of `secret`.
  TrafficKey(const CipherSuite& suite, const TrafficSecret& secret, Use use);
  ~TrafficKey();
  TrafficKey(const TrafficKey&) = delete;
  TrafficKey& operator=(const TrafficKey&) = delete;

  // Fills `record`, which has kOverhead bytes more than `content`, and no more than kMostBody behind its
  // header; a peer takes kMostContent. Throws where OpenSSL cannot do it, which then has no memory.
  void seal(ContentType type, ByteView content, std::span<std::uint8_t> record);

  struct Opened {
    std::uint8_t type;  // as it came: see ContentType
    std::size_t size;   // of the content, at the front of `content`
  };
  // Opens a whole record, header included, of at least kOverhead bytes. `content` has room for what is
  // between header and tag. Nothing where the record was not sealed with the peer's key, or is out of its
  // order: what `content` then holds is nobody's word. A type of 0 says that there was nothing but padding.
  [[nodiscard]] std::optional<Opened> open(ByteView record, std::span<std::uint8_t> content);

  // The next generation: new secret, new key, and the records are counted anew.
  void update();
  // How many were sealed or opened with this key.
  [[nodiscard]] std::uint64_t records() const { return records_; }

 private:
  static constexpr std::size_t kNonceBytes = 12;
  using Nonce = std::array<std::uint8_t, kNonceBytes>;

  void make_key();
  [[nodiscard]] Nonce next_nonce();

  const CipherSuite& suite_;
  TrafficSecret secret_;
  CipherContext context_;
  Nonce base_{};
  Use use_;
  std::uint64_t records_ = 0;
};

}  // namespace pgveil::tls
