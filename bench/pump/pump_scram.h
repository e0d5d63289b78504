// The server's side of SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677) for one password. pump requires it from a
// proxy that logs in on the client's behalf. Values that do not depend on the login are computed once. Each
// login is checked in full, so that an incomplete login cannot appear as a fast one.
#pragma once

#include <openssl/types.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace pump {

using Sha256 = std::array<unsigned char, 32>;

// The server's keys for the password, and the only channel binding that a login may use.
class ScramSecret {
 public:
  // `certificate` is the server's own, signed with SHA-256: its hash is tls-server-end-point (RFC 5929).
  ScramSecret(std::string_view password, const X509* certificate);

 private:
  friend class ScramLogin;
  Sha256 stored_key_{};
  Sha256 server_key_{};
  std::string binding_;  // the only correct value of `c=`, in base64
};

// One login. Each step takes a message of the client and returns the answer; nullopt if the message is wrong.
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
