// Makes bytes of the wire from a readable text: "0000000e 00030000 'user'00 00"_wire.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

#include "protocol/bytes.h"

namespace pgveil::test {

// Takes pairs of hexadecimal digits and 'quoted text', and ignores spaces between them. Throws, and so fails
// the test, if the literal is mistyped.
inline protocol::Bytes operator""_wire(const char* literal, std::size_t size) {
  const std::string_view text(literal, size);
  const auto mistyped = [&] { return std::invalid_argument("mistyped: \"" + std::string(text) + "\"_wire"); };
  const auto digit = [&](std::size_t place) {
    const auto value = place < size ? std::string_view("0123456789abcdef").find(text[place]) : text.npos;
    if (value == text.npos) throw mistyped();
    return value;
  };

  protocol::Bytes bytes;
  for (std::size_t place = 0; place < size;) {
    if (text[place] == ' ') {
      ++place;
    } else if (text[place] == '\'') {
      const std::size_t end = text.find('\'', place + 1);
      if (end == text.npos) throw mistyped();
      const auto quoted = protocol::as_bytes(text.substr(place + 1, end - place - 1));
      bytes.insert(bytes.end(), quoted.begin(), quoted.end());
      place = end + 1;
    } else {
      bytes.push_back(static_cast<std::uint8_t>(digit(place) * 16 + digit(place + 1)));
      place += 2;
    }
  }
  return bytes;
}

// Returns `left` followed by `right`.
inline protocol::Bytes operator+(protocol::Bytes left, const protocol::Bytes& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

// Returns a length word followed by `body`: a startup packet, or a message without its type. The length includes the
// length word.
inline protocol::Bytes with_length(const protocol::Bytes& body) {
  protocol::Bytes bytes;
  protocol::ByteWriter writer(bytes);
  const auto length = writer.begin_length();
  writer.write_bytes(body);
  writer.end_length(length);
  return bytes;
}

// Returns `count` copies of `byte`.
inline protocol::Bytes repeated(std::uint8_t byte, std::size_t count) {
  return protocol::Bytes(count, byte);
}

}  // namespace pgveil::test
