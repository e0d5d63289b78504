// Reading and writing of fields in PostgreSQL's messages: big-endian integers, byte strings and
// NUL-terminated strings. A reader never reads past its bytes. A writer appends to a buffer that the caller
// owns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace pgveil::protocol {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;

// Returns the characters of `bytes`, which must outlive the result.
[[nodiscard]] std::string_view as_text(ByteView bytes);
// Returns the bytes of `text`, which must outlive the result.
[[nodiscard]] ByteView as_bytes(std::string_view text);

// Reads fields from the front of a span. A read that does not fit returns nullopt and consumes nothing.
class ByteReader {
 public:
  explicit ByteReader(ByteView bytes) : rest_(bytes) {}

  [[nodiscard]] std::optional<std::uint8_t> read_uint8();
  [[nodiscard]] std::optional<std::uint16_t> read_uint16();
  [[nodiscard]] std::optional<std::uint32_t> read_uint32();
  [[nodiscard]] std::optional<ByteView> read_bytes(std::size_t size);
  // Reads a string up to its NUL, which is consumed and not returned.
  [[nodiscard]] std::optional<std::string_view> read_c_string();

  [[nodiscard]] ByteView rest() const { return rest_; }
  [[nodiscard]] std::size_t remaining() const { return rest_.size(); }
  [[nodiscard]] bool empty() const { return rest_.empty(); }

 private:
  ByteView rest_;
};

// Appends fields to `out`, which must outlive the writer.
class ByteWriter {
 public:
  explicit ByteWriter(Bytes& out) : out_(out) {}

  void write_uint8(std::uint8_t value);
  void write_uint16(std::uint16_t value);
  void write_uint32(std::uint32_t value);
  void write_bytes(ByteView bytes);
  // Appends `text` and a NUL. `text` must not contain a NUL.
  void write_c_string(std::string_view text);

  // Reserves a length word and returns its position. end_length() fills it with the number of bytes written
  // since then, including its own four, as in every PostgreSQL message.
  [[nodiscard]] std::size_t begin_length();
  void end_length(std::size_t place);

 private:
  Bytes& out_;
};

}  // namespace pgveil::protocol
