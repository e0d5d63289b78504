// The server's side of SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677) for one password: what pump asks of a proxy
// that logs in by itself. Everything that does not depend on the login is computed once, and what remains is
// checked in full, so a login that was not one cannot pass for a fast one.
#pragma once

#include <openssl/types.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace pump {

using Sha256 = std::array<unsigned char, 32>;

// What the server knows of the password, and the only channel that a login may be bound to.
class ScramSecret {
 public:
  // `certificate` is the server's own, signed with SHA-256: its hash is tls-server-end-point (RFC 5929).
  ScramSecret(std::string_view password, const X509* certificate);

 private:
  friend class ScramLogin;
  Sha256 stored_key_{};
  Sha256 server_key_{};
  std::string binding_;  // the only `c=` that is right: in base64
};

// One login. Each step takes what the client sent and returns what to send; nothing where it is not right.
class ScramLogin {
 public:
  explicit ScramLogin(const ScramSecret& secret) : secret_(secret) {}

  std::optional<std::string> first(std::string_view client_first);
  std::optional<std::string> final(std::string_view client_final);

 private:
  const ScramSecret& secret_;
  std::string nonce_;
  std::string transcript_;  // client-first-message-bare,server-first-message
};

}  // namespace pump
