// Secrets that wipe themselves, without a cryptographic library.
#pragma once

#include <string.h>  // explicit_bzero: a write that the compiler does not remove

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/bytes.h"

namespace pgveil::protocol {

// Overwrites a secret in memory. (explicit_bzero() does not accept a null pointer, even with size 0.)
template <class Container>
void wipe_secret(Container& secret) {
  if (!secret.empty()) explicit_bzero(secret.data(), secret.size() * sizeof(*secret.data()));
}

// 32 bytes: a key or a hash of SCRAM-SHA-256. The destructor of every copy wipes it.
class SecretKey {
 public:
  static constexpr std::size_t kBytes = 32;

  SecretKey() = default;
  // Copies the bytes, and wipes the original.
  explicit SecretKey(std::array<std::uint8_t, kBytes>&& bytes) : bytes_(bytes) {
    explicit_bzero(bytes.data(), kBytes);
  }
  SecretKey(const SecretKey&) = default;
  SecretKey& operator=(const SecretKey&) = default;
  ~SecretKey() { explicit_bzero(bytes_.data(), kBytes); }

  [[nodiscard]] ByteView view() const { return bytes_; }
  [[nodiscard]] std::span<std::uint8_t, kBytes> bytes() { return bytes_; }

 private:
  std::array<std::uint8_t, kBytes> bytes_{};
};

// A password. It can be moved, which leaves no copy in memory. It cannot be copied.
class SecretText {
 public:
  SecretText() = default;
  explicit SecretText(std::string_view text) : characters_(text.begin(), text.end()) {}
  // Takes ownership of the characters. While they were collected, the vector must not have been reallocated.
  explicit SecretText(std::vector<char>&& characters) noexcept : characters_(std::move(characters)) {}
  SecretText(SecretText&& other) noexcept : characters_(std::move(other.characters_)) {}
  SecretText& operator=(SecretText&& other) noexcept {
    characters_.swap(other.characters_);
    return *this;
  }
  ~SecretText() { wipe_secret(characters_); }

  [[nodiscard]] std::string_view view() const { return {characters_.data(), characters_.size()}; }

 private:
  std::vector<char> characters_;
};

}  // namespace pgveil::protocol
