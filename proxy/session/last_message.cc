#include "proxy/session/last_message.h"

#include <string>

#include "protocol/backend.h"

namespace pgveil::proxy {

protocol::Bytes last_message(const Ending& ending, ErrorFormat format, bool is_local) {
  const ReasonInfo& reason = describe(ending.reason);
  protocol::Bytes error;
  if (reason.sqlstate.empty() || format == ErrorFormat::none) return error;
  const std::string message = std::string(kMessagePrefix).append(message_of(ending));
  if (format == ErrorFormat::protocol_2) {
    protocol::encode_old_error_response(message, error);
    return error;
  }
  protocol::encode_error_response({.severity = "FATAL",
                                   .sqlstate = std::string(reason.sqlstate),
                                   .message = message,
                                   .detail = is_local ? ending.detail : "",
                                   .hint = is_local ? ending.hint : ""},
                                  error);
  return error;
}

}  // namespace pgveil::proxy
