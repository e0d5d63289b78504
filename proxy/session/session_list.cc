#include "proxy/session/session_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace pgveil::proxy {

std::string session_name(SessionId id) {
  return fmt::format("{:04x}-{:x}", id >> 32U, id & 0xffffffffU);
}

std::optional<SessionId> session_id(std::string_view name) {
  constexpr int kHexadecimal = 16;
  const auto number = [](std::string_view digits) -> std::optional<std::uint32_t> {
    std::uint32_t value = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, kHexadecimal);
    return error == std::errc() && end == digits.data() + digits.size() ? std::optional(value) : std::nullopt;
  };
  const std::size_t dash = std::min(name.find('-'), name.size());
  const auto run = number(name.substr(0, dash));
  const auto session = number(name.substr(std::min(dash + 1, name.size())));
  if (!run || !session) return std::nullopt;
  return SessionId{*run} << 32U | *session;
}

}  // namespace pgveil::proxy
