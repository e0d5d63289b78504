// The authentication methods that a server may ask for: libpq's require_auth (PostgreSQL 18,
// src/interfaces/libpq/fe-connect.c: pqConnectOptions2).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "protocol/backend.h"

namespace pgveil::proxy {

enum class AuthMethod : std::uint8_t { password, md5, gss, sspi, scram_sha_256, oauth, none };
[[nodiscard]] std::string_view name_of(AuthMethod method);
// Of a request; none for AuthenticationOk; nullopt for a SASL step, or one that is unknown. A request for
// SASL says only with its list which method it is.
[[nodiscard]] std::optional<AuthMethod> method_of(const protocol::Authentication& request);

// A set of them.
class AuthMethods {
 public:
  constexpr AuthMethods() = default;
  constexpr AuthMethods(std::initializer_list<AuthMethod> methods) {
    for (const auto method : methods) add(method);
  }
  [[nodiscard]] constexpr bool has(AuthMethod method) const { return (bits_ & bit(method)) != 0; }
  constexpr void add(AuthMethod method) { bits_ |= bit(method); }
  [[nodiscard]] static AuthMethods all();
  void remove(AuthMethod method) { bits_ &= static_cast<std::uint8_t>(~bit(method)); }
  bool operator==(const AuthMethods&) const = default;

  // "scram-sha-256,none", in the order of the enumeration.
  [[nodiscard]] std::string text() const;

 private:
  static constexpr std::uint8_t bit(AuthMethod method) {
    return static_cast<std::uint8_t>(1U << static_cast<unsigned>(method));
  }
  std::uint8_t bits_ = 0;
};

// Reads "method,method" or "!method,!method". The error is libpq's sentence.
[[nodiscard]] tl::expected<AuthMethods, std::string> parse_auth_methods(std::string_view text);

}  // namespace pgveil::proxy
