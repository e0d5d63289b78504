#include "proxy/login/server_authenticator.h"

#include <fmt/format.h>

#include <utility>

#include "protocol/frontend.h"
#include "proxy/credentials/scram_hash.h"
#include "proxy/login/login.h"
#include "tls/digest.h"

namespace pgveil::proxy {
namespace {

using Code = protocol::AuthenticationCode;

constexpr std::string_view kAuthFile = "auth_file";

Ending unsupported(const std::string& what) {
  return {.reason = Reason::upstream_auth_unsupported,
          .detail = "The server asks for " + what + ".",
          .hint =
              "Let the server ask the proxy for scram-sha-256, or use a rule with method relay, so that the "
              "client answers."};
}

// Returns the ending for a user's secret in auth_file with which the client was authenticated.
Ending outdated(std::string detail) {
  return {.reason = Reason::held_secret_outdated,
          .detail = std::move(detail),
          .hint =
              "Copy rolpassword of pg_authid, or the new password, into auth_file again: the password was "
              "changed, or its VALID UNTIL has passed, or the secret is that of another server."};
}

Ending unproven(std::string detail) {
  return {
      .reason = Reason::upstream_signature_wrong,
      .detail = std::move(detail),
      .hint = "It holds another password for this user than the proxy, or is not the server that it seems."};
}

}  // namespace

ServerAuthenticator::ServerAuthenticator(Terms terms, ScramKeyCache& key_cache, Wakeable& owner)
    : terms_(std::move(terms)), key_cache_(key_cache), owner_(owner) {}

ServerAuthenticator::~ServerAuthenticator() = default;

std::optional<Ending> ServerAuthenticator::objection_to(const protocol::Authentication& request) const {
  const auto method = method_of(request);
  const bool is_spoken = method == AuthMethod::none || method == AuthMethod::password ||
                         method == AuthMethod::md5 || method == AuthMethod::scram_sha_256;
  if (!is_spoken) return unsupported(describe(request));
  if (!terms_.allowed.has(*method)) return method_not_allowed(request, terms_.allowed);
  if (terms_.channel_binding == protocol::ChannelBinding::require && method != AuthMethod::scram_sha_256)
    return Ending{
        .reason = Reason::upstream_channel_binding_unavailable,
        .detail = "channel_binding = \"require\", but the server " +
                  (method == AuthMethod::none ? "asked for nothing." : "asks for " + describe(request) + "."),
        .hint = "Let the server ask for scram-sha-256 over TLS."};
  return std::nullopt;
}

void ServerAuthenticator::use(Credential credential) {
  if (auto* keys = std::get_if<KeysOfSalting>(&credential))
    keys_ = std::move(*keys);
  else
    password_ = std::move(std::get<std::unique_ptr<PasswordSource>>(credential));
}

ServerAuthenticator::Progress ServerAuthenticator::answer(const protocol::Authentication& request,
                                                          protocol::Bytes& to_server) {
  switch (request.code) {
    case Code::sasl_continue: return continue_scram(request.data, to_server);
    case Code::sasl_final: return finish_scram(request.data);
    case Code::ok:
      if (asked_) return accept();
      break;
    default:
      if (asked_) return fail(login_not_understood("a second authentication request"));
  }
  if (auto objection = objection_to(request)) return fail(*std::move(objection));
  switch (request.code) {
    case Code::cleartext_password: return send_password(to_server);
    case Code::md5_password: return send_md5(request.data, to_server);
    case Code::sasl: return begin_scram(request.data, to_server);
    default: return accept();
  }
}

std::optional<Ending> ServerAuthenticator::refused(const std::string& words) {
  if (!asked_)
    return Ending{.reason = Reason::upstream_refused_login,
                  .detail = "The server refused the proxy without asking for a password: " + words + '.',
                  .hint =
                      "The server's pg_hba.conf has to accept the proxy for this user, database and "
                      "address, by what the upstream has: a password, a client certificate, peer or trust."};
  const std::string_view setting = password_ ? password_->setting() : kAuthFile;
  if (password_) password_->refused();
  if (setting.empty()) return std::nullopt;
  if (setting == kAuthFile) return outdated("The server refused it: " + words + '.');
  return Ending{
      .reason = Reason::upstream_refused_password,
      .detail = fmt::format("The server refused the password of {}: {}.", setting, words),
      .hint = fmt::format("Check {}, and the password and VALID UNTIL of the role on the server.", setting)};
}

// With SCRAM, AuthenticationOk is valid only from a server that has proved that it knows the password.
ServerAuthenticator::Progress ServerAuthenticator::accept() {
  if (scram_ && !scram_->finished())
    return fail(unproven("It accepted the login without the proof that SCRAM asks of a server."));
  return Progress::accepted;
}

ServerAuthenticator::Progress ServerAuthenticator::send_password(protocol::Bytes& to_server) {
  if (const auto progress = await_password(); progress != Progress::answered) return progress;
  method_ = "password";
  asked_ = true;
  protocol::encode_password(password_->password().view(), to_server);
  return Progress::answered;
}

ServerAuthenticator::Progress ServerAuthenticator::send_md5(protocol::ByteView data,
                                                            protocol::Bytes& to_server) {
  const auto salt = protocol::decode_md5_salt(data);
  if (!salt) return fail(login_not_understood("a request for an MD5 password without its salt"));
  if (const auto progress = await_password(); progress != Progress::answered) return progress;
  auto hash = tls::md5_password(terms_.user, password_->password().view(), *salt);
  if (!hash) return fail(unsupported("an MD5 password, which this system's OpenSSL does not do"));
  method_ = "md5";
  asked_ = true;
  protocol::encode_password(*hash, to_server);
  tls::wipe(*hash);
  return Progress::answered;
}

ServerAuthenticator::Progress ServerAuthenticator::begin_scram(protocol::ByteView data,
                                                               protocol::Bytes& to_server) {
  const auto mechanisms = protocol::decode_sasl_mechanisms(data);
  if (!mechanisms) return fail(login_not_understood("a list of SASL mechanisms that is not well formed"));
  if (!keys_)
    if (const auto progress = await_password(); progress != Progress::answered) return progress;
  scram_.emplace(scram_hash(),
                 protocol::ScramClientTerms{.channel_binding = terms_.channel_binding,
                                            .has_tls = terms_.has_tls,
                                            .end_point = terms_.end_point},
                 new_scram_nonce());
  const auto start = scram_->start(*mechanisms);
  if (!start) return fail(start.error());
  method_ =
      start->mechanism == protocol::kScramSha256Plus ? protocol::kScramSha256Plus : protocol::kScramSha256;
  asked_ = true;
  const auto& first = start->client_first;
  protocol::encode_sasl_initial_response(
      {.mechanism = start->mechanism,
       .data = protocol::ByteView(reinterpret_cast<const std::uint8_t*>(first.data()), first.size())},
      to_server);
  return Progress::answered;
}

ServerAuthenticator::Progress ServerAuthenticator::continue_scram(protocol::ByteView data,
                                                                  protocol::Bytes& to_server) {
  if (!scram_) return fail(login_not_understood("a SASL step that belongs to no login"));
  if (!computing_) {
    auto salting = scram_->take_server_first(data);
    if (!salting) return fail(salting.error());
    if (keys_ && keys_->salting != *salting)
      return fail(outdated("Its salt or its number of iterations is not that of the server."));
    if (!keys_) {
      computing_ = key_cache_.request(password_->password(), *salting, owner_);
    }
  }
  const protocol::ScramKeys* keys = keys_ ? &keys_->keys : computing_->keys();
  if (keys == nullptr) return Progress::later;
  const auto final = scram_->answer(*keys);
  keys_.reset();
  computing_.reset();
  if (!final) return fail(final.error());
  protocol::encode_sasl_response({reinterpret_cast<const std::uint8_t*>(final->data()), final->size()},
                                 to_server);
  return Progress::answered;
}

ServerAuthenticator::Progress ServerAuthenticator::finish_scram(protocol::ByteView data) {
  if (!scram_) return fail(login_not_understood("a SASL step that belongs to no login"));
  const auto verdict = scram_->take_server_final(data);
  return verdict ? Progress::answered : fail(verdict.error());
}

ServerAuthenticator::Progress ServerAuthenticator::await_password() {
  if (!password_)  // only keys are known
    return fail({.reason = Reason::upstream_asks_for_password,
                 .detail = "The server asks for the password itself; auth_file holds only its SCRAM secret.",
                 .hint = "Let the server ask for scram-sha-256."});
  switch (password_->state()) {
    case PasswordSource::State::pending: return Progress::later;
    case PasswordSource::State::failed: return fail(password_->ending());
    case PasswordSource::State::ready: break;
  }
  return Progress::answered;
}

ServerAuthenticator::Progress ServerAuthenticator::fail(Ending ending) {
  ending_ = std::move(ending);
  return Progress::failed;
}

ServerAuthenticator::Progress ServerAuthenticator::fail(protocol::ScramFailure failure) {
  using protocol::ScramFailure;
  const std::string why(protocol::describe(failure));
  switch (failure) {
    case ScramFailure::binding_without_tls:
    case ScramFailure::binding_not_offered:
    case ScramFailure::binding_undefined:
      return fail({.reason = Reason::upstream_channel_binding_unavailable,
                   .detail = "channel_binding = \"require\": " + why + ".",
                   .hint = "Reach a PostgreSQL 11 or newer over TLS with a certificate whose signature has a "
                           "digest (not Ed25519)."});
    case ScramFailure::incorrect_signature: return fail(unproven(why + "."));
    case ScramFailure::refused: {  // PostgreSQL sends an ErrorResponse instead
      auto ending = refused(why);
      return fail(
          ending ? *std::move(ending)
                 : Ending{.reason = Reason::password_wrong, .detail = "The server refused it: " + why + '.'});
    }
    case ScramFailure::no_mechanism: return fail(unsupported("a SASL login by none of SCRAM's mechanisms"));
    default: return fail(login_not_understood("a SCRAM message that ends it (" + why + ')'));
  }
}

}  // namespace pgveil::proxy
