// The result of every decoder: a value, "more bytes are needed", or an error that more bytes cannot correct.
#pragma once

#include <optional>
#include <tl/expected.hpp>

namespace pgveil::protocol {

enum class DecodeError {
  bad_length,  // a length word that this kind of message does not allow
  bad_layout,  // fields that do not fill their message exactly
};

// The result of a decoder. decoded->has_value() is false if the message is incomplete.
template <class T>
using Decoded = tl::expected<std::optional<T>, DecodeError>;

}  // namespace pgveil::protocol
