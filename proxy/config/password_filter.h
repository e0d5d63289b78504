// Passwords that an operator has written where none belongs, such as in a connection string: kept out of messages.
#pragma once

#include <string>
#include <string_view>

namespace pgveil::proxy::values {

// Whether a value looks like a connection string that has a password in it: a URI with a user,
// "user:password@host", or "password=...". Such a value must appear in no message, nor a part of it.
[[nodiscard]] bool may_hold_password(std::string_view value);
// A message with asterisks for what may be such a password.
[[nodiscard]] std::string without_passwords(std::string_view message);

}  // namespace pgveil::proxy::values
