#include "protocol/bytes.h"

#include <cassert>
#include <limits>

namespace pgveil::protocol {
namespace {

void store_uint32(std::uint32_t value, std::uint8_t* place) {
  for (int shift = 24; shift >= 0; shift -= 8) *place++ = static_cast<std::uint8_t>(value >> shift);
}

}  // namespace

std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::optional<std::uint8_t> ByteReader::read_uint8() {
  const auto bytes = read_bytes(1);
  if (!bytes) return std::nullopt;
  return bytes->front();
}

std::optional<std::uint16_t> ByteReader::read_uint16() {
  const auto bytes = read_bytes(2);
  if (!bytes) return std::nullopt;
  return static_cast<std::uint16_t>((*bytes)[0] << 8U | (*bytes)[1]);
}

std::optional<std::uint32_t> ByteReader::read_uint32() {
  const auto bytes = read_bytes(4);
  if (!bytes) return std::nullopt;
  std::uint32_t value = 0;
  for (const std::uint8_t byte : *bytes) value = (value << 8) | byte;
  return value;
}

std::optional<ByteView> ByteReader::read_bytes(std::size_t size) {
  if (size > rest_.size()) return std::nullopt;
  const ByteView bytes = rest_.first(size);
  rest_ = rest_.subspan(size);
  return bytes;
}

std::optional<std::string_view> ByteReader::read_c_string() {
  const std::size_t size = as_text(rest_).find('\0');
  if (size == std::string_view::npos) return std::nullopt;
  const std::string_view text = as_text(rest_.first(size));
  rest_ = rest_.subspan(size + 1);
  return text;
}

void ByteWriter::write_uint8(std::uint8_t value) {
  out_.push_back(value);
}

void ByteWriter::write_uint16(std::uint16_t value) {
  write_uint8(static_cast<std::uint8_t>(value >> 8U));
  write_uint8(static_cast<std::uint8_t>(value & 0xffU));
}

void ByteWriter::write_uint32(std::uint32_t value) {
  out_.resize(out_.size() + sizeof value);
  store_uint32(value, out_.data() + out_.size() - sizeof value);
}

void ByteWriter::write_bytes(ByteView bytes) {
  out_.insert(out_.end(), bytes.begin(), bytes.end());
}

void ByteWriter::write_c_string(std::string_view text) {
  assert(text.find('\0') == std::string_view::npos);
  write_bytes(as_bytes(text));
  write_uint8(0);
}

std::size_t ByteWriter::begin_length() {
  const std::size_t place = out_.size();
  write_uint32(0);
  return place;
}

void ByteWriter::end_length(std::size_t place) {
  assert(place + sizeof(std::uint32_t) <= out_.size());
  const std::size_t length = out_.size() - place;
  assert(length <= std::numeric_limits<std::int32_t>::max());
  store_uint32(static_cast<std::uint32_t>(length), out_.data() + place);
}

}  // namespace pgveil::protocol
