#include "proxy/session/side_end.h"

namespace pgveil::proxy {
namespace {

using CloseNotify = Stream::CloseNotify;

constexpr const char* kNoCloseNotify = "TLS ended without close_notify.";

std::string inside_message(const SideEnd& end) {
  return end.close_notify == CloseNotify::missing
             ? "The connection ended inside a message, and TLS without close_notify."
             : "The connection ended inside a message.";
}

}  // namespace

// Terminate is the last message of a client. If it arrived complete inside TLS, nothing was cut off.
Ending closed_by_client(const SideEnd& end) {
  if (end.in_message) return {.reason = Reason::client_closed_in_message, .detail = inside_message(end)};
  if (end.was_announced) return {.reason = Reason::client_closed};
  if (end.close_notify == CloseNotify::missing)
    return {.reason = Reason::client_closed_unexpectedly, .detail = kNoCloseNotify};
  return {.reason = Reason::client_closed, .detail = "The client sent no Terminate message."};
}

// PostgreSQL ends a session with a FATAL error, and TLS with close_notify. A killed server process sends neither,
// and an attacker who cuts a TLS connection can send neither.
Ending closed_by_server(const SideEnd& end) {
  constexpr const char* kNoError = "The server sent no FATAL error before.";
  constexpr const char* kHint = "Look into the server's log: one of its processes may have crashed.";
  if (end.in_message)
    return {.reason = Reason::server_closed_in_message, .detail = inside_message(end), .hint = kHint};
  if (end.close_notify == CloseNotify::missing)
    return {.reason = Reason::server_closed_unexpectedly, .detail = kNoCloseNotify, .hint = kHint};
  if (end.was_announced) return {.reason = Reason::server_closed};
  if (end.close_notify == CloseNotify::received) return {.reason = Reason::server_closed, .detail = kNoError};
  return {.reason = Reason::server_closed_unexpectedly, .detail = kNoError, .hint = kHint};
}

Ending closed_by_client_in_login(const SideEnd& end) {
  if (end.in_message) return {.reason = Reason::client_closed_in_message, .detail = inside_message(end)};
  if (end.close_notify == CloseNotify::missing)
    return {.reason = Reason::client_closed, .detail = kNoCloseNotify};
  return {.reason = Reason::client_closed};
}

}  // namespace pgveil::proxy
