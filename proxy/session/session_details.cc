#include "proxy/session/session_details.h"

#include <algorithm>
#include <array>

namespace pgveil::proxy {
namespace {

constexpr std::array kFields{&SessionDetails::listener,   &SessionDetails::client,
                             &SessionDetails::identity,   &SessionDetails::user,
                             &SessionDetails::database,   &SessionDetails::rule,
                             &SessionDetails::upstream,   &SessionDetails::server,
                             &SessionDetails::client_tls, &SessionDetails::server_tls};
static_assert(sizeof(SessionDetails) == kFields.size() * sizeof(std::string));

}  // namespace

std::string SessionDetails::pack() const {
  std::string packed;
  std::size_t size = 0;
  for (const auto field : kFields) size += (this->*field).size() + 1;
  packed.reserve(size);
  for (const auto field : kFields) {
    const std::size_t begin = packed.size();
    packed += this->*field;
    std::replace(packed.begin() + static_cast<std::ptrdiff_t>(begin), packed.end(), '\0', ' ');
    packed += '\0';
  }
  return packed;
}

SessionDetails SessionDetails::unpack(std::string_view packed) {
  SessionDetails details;
  for (const auto field : kFields) {
    const std::size_t end = packed.find('\0');
    if (end == std::string_view::npos) return details;
    details.*field = packed.substr(0, end);
    packed.remove_prefix(end + 1);
  }
  return details;
}

SessionDetails details_of(const Record& record) {
  const auto version = [](const auto& tls) { return tls ? tls->version : std::string(); };
  return {.listener = record.listener,
          .client = record.client,
          .identity = record.identity,
          .user = record.user,
          .database = record.database,
          .rule = record.rule,
          .upstream = record.upstream,
          .server = record.server,
          .client_tls = version(record.client_tls),
          .server_tls = version(record.server_tls)};
}

}  // namespace pgveil::proxy
