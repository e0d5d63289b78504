// The choices of a fuzzer, which its input makes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace pgveil::fuzz {

// Takes octets from the front of the input. After its end every octet is 0.
class Choices {
 public:
  using View = std::span<const std::uint8_t>;

  explicit Choices(View bytes) : rest_(bytes) {}
  [[nodiscard]] bool empty() const { return rest_.empty(); }
  View octets(std::size_t most) {
    const auto taken = rest_.first(std::min(most, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  std::uint8_t octet() {
    const auto taken = octets(1);
    return taken.empty() ? std::uint8_t{0} : taken[0];
  }
  // Returns a small size, or `limit`, or a size slightly below it.
  std::size_t size(std::size_t limit) {
    const std::size_t chosen = octet();
    return chosen < 0xf0 ? chosen : limit - (chosen - 0xf0);
  }

 private:
  View rest_;
};

}  // namespace pgveil::fuzz
