// The result of every decoder: a value, "more bytes are needed", or an error that no further byte can mend.
#pragma once

#include <optional>
#include <tl/expected.hpp>

namespace pgveil::protocol {

enum class DecodeError {
  bad_length,  // a length word that the kind of message does not allow
  bad_layout,  // fields that do not fill their message exactly
};

// decoded->has_value() is false while the message is incomplete.
template <class T>
using Decoded = tl::expected<std::optional<T>, DecodeError>;

}  // namespace pgveil::protocol
