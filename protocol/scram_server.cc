#include "protocol/scram_server.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "protocol/backend.h"
#include "protocol/base64.h"
#include "protocol/sqlstate.h"

namespace pgveil::protocol {
namespace {

constexpr std::string_view kBindingType = "tls-server-end-point";

struct Attribute {
  char name;
  std::string_view value;
};

// Reads the attributes of a message one by one, as auth-scram.c does: a comma after the last one is accepted.
class Attributes {
 public:
  explicit Attributes(std::string_view message) : rest_(message) {}

  [[nodiscard]] std::string_view rest() const { return rest_; }
  [[nodiscard]] bool empty() const { return rest_.empty(); }
  [[nodiscard]] bool starts_with(char name) const { return rest_.starts_with(name); }
  void skip_byte() { rest_.remove_prefix(1); }

  // Returns nullopt if there is no attribute, or if it is not `name`.
  std::optional<std::string_view> take(char name) {
    if (!starts_with(name)) return std::nullopt;
    const auto attribute = take_any();
    return attribute ? std::optional(attribute->value) : std::nullopt;
  }

  std::optional<Attribute> take_any() {
    const auto is_letter = [](char one) { return (one >= 'a' && one <= 'z') || (one >= 'A' && one <= 'Z'); };
    if (rest_.size() < 2 || !is_letter(rest_[0]) || rest_[1] != '=') return std::nullopt;
    const std::size_t end = std::min(rest_.find(','), rest_.size());
    const Attribute attribute{rest_[0], rest_.substr(2, end - 2)};
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    return attribute;
  }

 private:
  std::string_view rest_;
};

}  // namespace

ScramRefusalText describe(ScramRefusal refusal) {
  constexpr std::string_view kMalformed = "malformed SCRAM message";
  switch (refusal) {
    case ScramRefusal::invalid_mechanism:
      return {sqlstate::kProtocolViolation, "client selected an invalid SASL authentication mechanism", ""};
    case ScramRefusal::malformed_message: return {sqlstate::kProtocolViolation, kMalformed, ""};
    case ScramRefusal::binding_missing:
      return {
          sqlstate::kProtocolViolation, kMalformed,
          "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding "
          "data."};
    case ScramRefusal::binding_unexpected:
      return {sqlstate::kProtocolViolation, kMalformed,
              "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes "
              "channel binding data."};
    case ScramRefusal::binding_negotiation:
      return {sqlstate::kInvalidAuthorizationSpecification, "SCRAM channel binding negotiation error",
              "The client supports SCRAM channel binding but thinks the server does not.  However, this "
              "server does support channel binding."};
    case ScramRefusal::binding_type:
      return {sqlstate::kProtocolViolation, "unsupported SCRAM channel-binding type", ""};
    case ScramRefusal::authorization_identity:
      return {sqlstate::kFeatureNotSupported, "client uses authorization identity, but it is not supported",
              ""};
    case ScramRefusal::mandatory_extension:
      return {sqlstate::kFeatureNotSupported, "client requires an unsupported SCRAM extension", ""};
    case ScramRefusal::nonce_not_printable:
      return {sqlstate::kProtocolViolation, "non-printable characters in SCRAM nonce", ""};
    case ScramRefusal::binding_check:
      return {sqlstate::kInvalidAuthorizationSpecification, "SCRAM channel binding check failed", ""};
    case ScramRefusal::binding_attribute:
      return {sqlstate::kProtocolViolation,
              "unexpected SCRAM channel-binding attribute in client-final-message", ""};
    case ScramRefusal::nonce_mismatch:
      return {sqlstate::kProtocolViolation, "invalid SCRAM response", "Nonce does not match."};
    case ScramRefusal::wrong_proof: return {sqlstate::kInvalidPassword, "password authentication failed", ""};
    case ScramRefusal::unexpected_message:
      return {sqlstate::kProtocolViolation, "unexpected message in SCRAM exchange", ""};
  }
  return {};
}

std::vector<std::string_view> scram_mechanisms(bool has_end_point) {
  if (has_end_point) return {kScramSha256Plus, kScramSha256};
  return {kScramSha256};
}

ScramServer::ScramServer(const ScramHash& hash, ScramSecret secret, Bytes end_point, std::string nonce)
    : hash_(hash), secret_(std::move(secret)), end_point_(std::move(end_point)), nonce_(std::move(nonce)) {}

ScramServer::Answer ScramServer::take_initial_response(const SaslInitialResponse& response) {
  auto answer = choose_mechanism(response);
  if (!answer) state_ = State::refused;
  return answer;
}

ScramServer::Answer ScramServer::take_response(ByteView data) {
  auto answer = take_message(data);
  if (!answer) state_ = State::refused;
  return answer;
}

ScramServer::Answer ScramServer::choose_mechanism(const SaslInitialResponse& response) {
  if (state_ != State::initial) return tl::unexpected(ScramRefusal::unexpected_message);
  const auto offered = scram_mechanisms(!end_point_.empty());
  if (std::ranges::find(offered, response.mechanism) == offered.end())
    return tl::unexpected(ScramRefusal::invalid_mechanism);
  binds_channel_ = response.mechanism == kScramSha256Plus;
  state_ = State::mechanism_chosen;
  // Without an initial response, an empty challenge requests it (RFC 4422, section 3; auth-sasl.c).
  if (!response.data) return std::string();
  return take_message(*response.data);
}

ScramServer::Answer ScramServer::take_message(ByteView data) {
  const std::string_view message = as_text(data);
  if (message.empty() || message.find('\0') != message.npos)
    return tl::unexpected(ScramRefusal::malformed_message);
  switch (state_) {
    case State::mechanism_chosen: return take_client_first(message);
    case State::challenged: return take_client_final(message);
    case State::initial:
    case State::finished:
    case State::refused: break;
  }
  return tl::unexpected(ScramRefusal::unexpected_message);
}

// Parses gs2 header, n=<user>,r=<nonce>, and extensions, which are ignored.
ScramServer::Answer ScramServer::take_client_first(std::string_view message) {
  Attributes attributes(message);
  flag_ = message.front();
  if (const auto refusal = refusal_of_flag(flag_)) return tl::unexpected(*refusal);
  if (flag_ == 'p') {
    const auto type = attributes.take('p');
    if (!type) return tl::unexpected(ScramRefusal::malformed_message);
    if (*type != kBindingType) return tl::unexpected(ScramRefusal::binding_type);
  } else {
    attributes.skip_byte();
    if (!attributes.starts_with(',')) return tl::unexpected(ScramRefusal::malformed_message);
    attributes.skip_byte();
  }
  if (attributes.starts_with('a')) return tl::unexpected(ScramRefusal::authorization_identity);
  if (!attributes.starts_with(',')) return tl::unexpected(ScramRefusal::malformed_message);
  attributes.skip_byte();

  client_first_bare_ = attributes.rest();
  if (attributes.starts_with('m')) return tl::unexpected(ScramRefusal::mandatory_extension);
  // The user of the StartupMessage is used: libpq leaves this one empty.
  const auto user = attributes.take('n');
  const auto nonce = user ? attributes.take('r') : std::nullopt;
  if (!nonce) return tl::unexpected(ScramRefusal::malformed_message);
  if (!is_scram_printable(*nonce)) return tl::unexpected(ScramRefusal::nonce_not_printable);
  while (!attributes.empty())
    if (!attributes.take_any()) return tl::unexpected(ScramRefusal::malformed_message);

  whole_nonce_ = std::string(*nonce) + nonce_;
  server_first_ = "r=" + whole_nonce_ + ",s=" + encode_base64(secret_.salting.salt) +
                  ",i=" + std::to_string(secret_.salting.iterations);
  state_ = State::challenged;
  return server_first_;
}

// Parses c=<binding>,r=<nonce>, extensions, which are ignored, and p=<proof>.
ScramServer::Answer ScramServer::take_client_final(std::string_view message) {
  Attributes attributes(message);
  const auto binding = attributes.take('c');
  if (!binding) return tl::unexpected(ScramRefusal::malformed_message);
  if (const auto refusal = refusal_of_binding(*binding)) return tl::unexpected(*refusal);
  const auto nonce = attributes.take('r');
  if (!nonce) return tl::unexpected(ScramRefusal::malformed_message);

  std::optional<Attribute> attribute;
  std::string_view without_proof;
  do {
    without_proof = message.substr(0, message.size() - attributes.rest().size() - 1);
    attribute = attributes.take_any();
    if (!attribute) return tl::unexpected(ScramRefusal::malformed_message);
  } while (attribute->name != 'p');
  const auto proof = decode_scram_key(attribute->value);
  if (!proof || !attributes.empty()) return tl::unexpected(ScramRefusal::malformed_message);

  if (*nonce != whole_nonce_) return tl::unexpected(ScramRefusal::nonce_mismatch);
  return check_proof(*proof, without_proof);
}

std::optional<ScramRefusal> ScramServer::refusal_of_flag(char flag) const {
  switch (flag) {
    case 'n':
    case 'y':
      if (binds_channel_) return ScramRefusal::binding_missing;
      if (flag == 'y' && !end_point_.empty()) return ScramRefusal::binding_negotiation;
      return std::nullopt;
    case 'p': return binds_channel_ ? std::nullopt : std::optional(ScramRefusal::binding_unexpected);
    default: return ScramRefusal::malformed_message;
  }
}

std::optional<ScramRefusal> ScramServer::refusal_of_binding(std::string_view attribute) const {
  Bytes bound;
  if (binds_channel_) {
    bound.assign(kBindingHeader.begin(), kBindingHeader.end());
    bound.insert(bound.end(), end_point_.begin(), end_point_.end());
  } else {
    bound = {static_cast<std::uint8_t>(flag_), ',', ','};
  }
  if (attribute == encode_base64(bound)) return std::nullopt;
  return binds_channel_ ? ScramRefusal::binding_check : ScramRefusal::binding_attribute;
}

ScramServer::Answer ScramServer::check_proof(const SecretKey& proof, std::string_view without_proof) {
  const std::string auth_message = auth_message_of(client_first_bare_, server_first_, without_proof);
  const SecretKey client_key = with_client_signature(proof, secret_.stored_key, auth_message, hash_);
  const SecretKey stored_key = hash_.sha256(client_key.view());
  // For a mock secret everything above is also computed, so that the time does not show that the user is
  // unknown.
  const bool is_right = hash_.equal(stored_key.view(), secret_.stored_key.view());
  if (!is_right || secret_.is_mock) return tl::unexpected(ScramRefusal::wrong_proof);

  keys_ = {client_key, secret_.server_key};
  state_ = State::finished;
  return "v=" + encode_base64(hash_.hmac_sha256(secret_.server_key.view(), as_bytes(auth_message)).view());
}

}  // namespace pgveil::protocol
