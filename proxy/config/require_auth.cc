#include "proxy/config/require_auth.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "proxy/config/values.h"

namespace pgveil::proxy {
namespace {

constexpr std::array kMethods{
    std::pair{AuthMethod::password, std::string_view("password")},
    std::pair{AuthMethod::md5, std::string_view("md5")},
    std::pair{AuthMethod::gss, std::string_view("gss")},
    std::pair{AuthMethod::sspi, std::string_view("sspi")},
    std::pair{AuthMethod::scram_sha_256, std::string_view("scram-sha-256")},
    std::pair{AuthMethod::oauth, std::string_view("oauth")},
    std::pair{AuthMethod::none, std::string_view("none")},
};

constexpr std::string_view kOAuthBearer = "OAUTHBEARER";

std::optional<AuthMethod> find_method(std::string_view name) {
  const auto* found = std::find_if(kMethods.begin(), kMethods.end(),
                                   [name](const auto& method) { return method.second == name; });
  return found == kMethods.end() ? std::nullopt : std::optional(found->first);
}

std::string mixed(std::string_view name, bool is_negated) {
  return is_negated
             ? fmt::format("negative require_auth method \"{}\" cannot be mixed with non-negative methods",
                           name)
             : fmt::format("require_auth method \"{}\" cannot be mixed with negative methods", name);
}

}  // namespace

std::string_view name_of(AuthMethod method) {
  return kMethods.at(static_cast<std::size_t>(method)).second;
}

std::optional<AuthMethod> method_of(const protocol::Authentication& request) {
  using Code = protocol::AuthenticationCode;
  switch (request.code) {
    case Code::ok: return AuthMethod::none;
    case Code::cleartext_password: return AuthMethod::password;
    case Code::md5_password: return AuthMethod::md5;
    case Code::gss:
    case Code::gss_continue: return AuthMethod::gss;
    case Code::sspi: return AuthMethod::sspi;
    case Code::sasl: break;
    default: return std::nullopt;
  }
  const auto mechanisms = protocol::decode_sasl_mechanisms(request.data);
  if (!mechanisms) return std::nullopt;
  const auto offers = [&](std::string_view name) {
    return std::find(mechanisms->begin(), mechanisms->end(), name) != mechanisms->end();
  };
  if (offers(protocol::kScramSha256) || offers(protocol::kScramSha256Plus)) return AuthMethod::scram_sha_256;
  if (offers(kOAuthBearer)) return AuthMethod::oauth;
  return std::nullopt;
}

AuthMethods AuthMethods::all() {
  AuthMethods methods;
  for (const auto& [method, name] : kMethods) methods.add(method);
  return methods;
}

std::string AuthMethods::text() const {
  std::string text;
  for (const auto& [method, name] : kMethods)
    if (has(method)) text.append(text.empty() ? "" : ",").append(name);
  return text;
}

tl::expected<AuthMethods, std::string> parse_auth_methods(std::string_view text) {
  const bool negated = values::trimmed(text).starts_with('!');
  AuthMethods named;
  for (;;) {
    const auto end = text.find(',');
    std::string_view name = values::trimmed(text.substr(0, end));
    const bool is_negated = name.starts_with('!');
    if (is_negated) name.remove_prefix(1);
    const auto method = find_method(name);
    if (!method) return tl::unexpected(fmt::format("invalid require_auth method \"{}\"", name));
    if (is_negated != negated) return tl::unexpected(mixed(name, is_negated));
    if (named.has(*method))
      return tl::unexpected(fmt::format("require_auth method \"{}\" is specified more than once", name));
    named.add(*method);
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  if (!negated) return named;
  AuthMethods rest = AuthMethods::all();
  for (const auto& [method, name] : kMethods)
    if (named.has(method)) rest.remove(method);
  return rest;
}

}  // namespace pgveil::proxy
