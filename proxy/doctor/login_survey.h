// Begins a login, and ends it after the first answer. No password is sent.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "protocol/bytes.h"
#include "protocol/startup.h"
#include "proxy/base/socket_address.h"
#include "proxy/doctor/login_reply.h"
#include "proxy/doctor/login_request.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {

// Returns the StartupMessage of a login, as bytes; without a user if it has none.
[[nodiscard]] protocol::Bytes startup_message_of(const LoginRequest& login,
                                                 protocol::ProtocolVersion version);

// Asks a server that is verified before the StartupMessage is sent. `time` is that of the connection, and again that of the
// answer.
[[nodiscard]] LoginReply ask_verified(const std::shared_ptr<const Upstream>& upstream,
                                      const protocol::Bytes& first_bytes, const LoginRequest& login,
                                      protocol::ProtocolVersion version, std::chrono::milliseconds time);

// Asks without TLS, so nobody knows who answers. `time` is that of the connection and of the answer together.
[[nodiscard]] LoginReply ask_in_plaintext(const KernelAddress& address, const protocol::Bytes& first_bytes,
                                          const LoginRequest& login, std::chrono::milliseconds time);

}  // namespace pgveil::proxy
