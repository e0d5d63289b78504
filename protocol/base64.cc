#include "protocol/base64.h"

namespace pgveil::protocol {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr char kPadding = '=';

}  // namespace

std::string encode_base64(ByteView bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  while (!bytes.empty()) {
    const std::size_t size = bytes.size() < 3 ? bytes.size() : 3;
    std::uint32_t group = 0;
    for (std::size_t place = 0; place < 3; ++place) group = group << 8 | (place < size ? bytes[place] : 0U);
    for (std::size_t place = 0; place < 4; ++place)
      text += place <= size ? kAlphabet[group >> (18 - 6 * place) & 0x3f] : kPadding;
    bytes = bytes.subspan(size);
  }
  return text;
}

std::optional<Bytes> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  Bytes bytes;
  bytes.reserve(text.size() / 4 * 3);
  for (; !text.empty(); text.remove_prefix(4)) {
    std::size_t size = 3;  // bytes in this group
    if (text.size() == 4 && text[3] == kPadding) size = text[2] == kPadding ? 1 : 2;
    std::uint32_t group = 0;
    for (std::size_t place = 0; place < 4; ++place) {
      const auto value = place <= size ? kAlphabet.find(text[place]) : 0;
      if (value == kAlphabet.npos) return std::nullopt;
      group = group << 6 | static_cast<std::uint32_t>(value);
    }
    if ((group & (0xffffffU >> (8 * size))) != 0) return std::nullopt;  // bits after the last byte
    for (std::size_t place = 0; place < size; ++place)
      bytes.push_back(static_cast<std::uint8_t>(group >> (16 - 8 * place)));
  }
  return bytes;
}

}  // namespace pgveil::protocol
