#include "proxy/config/password_filter.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>

namespace pgveil::proxy::values {
namespace {

bool is_blank_or_quote(char byte) {
  return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r' || byte == '"';
}

// The rest of a text after the first "password=", in any case and with blanks around the sign; nullopt: there
// is none.
std::optional<std::string_view> after_password_key(std::string_view text) {
  constexpr std::array<std::string_view, 3> kKeys{"password", "passwd", "pwd"};
  std::string lower(text);
  for (char& byte : lower) byte = static_cast<char>(std::tolower(static_cast<unsigned char>(byte)));
  std::optional<std::string_view> rest;
  for (const auto key : kKeys)
    for (auto at = lower.find(key); at != std::string::npos; at = lower.find(key, at + 1)) {
      const auto sign = lower.find_first_not_of(" \t", at + key.size());
      if (sign == std::string::npos || lower[sign] != '=') continue;
      const auto begin = std::min(lower.find_first_not_of(" \t", sign + 1), lower.size());
      if (!rest || rest->size() < text.size() - begin) rest = text.substr(begin);
      break;
    }
  return rest;
}

}  // namespace

bool may_hold_password(std::string_view value) {
  if (after_password_key(value)) return true;
  const auto at = value.rfind('@');
  if (at == std::string_view::npos) return false;
  if (value.substr(0, at).find("://") != std::string_view::npos) return true;
  const auto colon = value.find(':');
  return colon < at && colon + 1 < at;
}

std::string without_passwords(std::string_view message) {
  std::string shown;
  for (;;) {
    const auto scheme = message.find("://");
    const auto key = after_password_key(message);
    const auto value = key ? message.size() - key->size() : std::string_view::npos;
    if (scheme == std::string_view::npos && !key) return shown.append(message);
    const bool is_uri = scheme < value;
    const auto begin = is_uri ? scheme + 3 : value;
    auto rest = message.substr(begin);
    const bool is_quoted = !is_uri && rest.starts_with('\'');
    auto size = is_quoted ? std::min(rest.find('\'', 1), rest.size())
                          : static_cast<std::size_t>(
                                std::find_if(rest.begin(), rest.end(), is_blank_or_quote) - rest.begin());
    if (is_uri) {
      const auto at = rest.substr(0, size).rfind('@');
      size = at == std::string_view::npos ? 0 : at;
    }
    shown.append(message.substr(0, begin)).append(size > 0 ? "***" : "");
    message = rest.substr(size);
  }
}

}  // namespace pgveil::proxy::values
