#include "protocol/scram_client.h"

#include <algorithm>
#include <utility>

#include "protocol/backend.h"
#include "protocol/base64.h"

namespace pgveil::protocol {
namespace {

// Returns the value of `message`, if it is a single attribute: the text after "v=".
std::optional<std::string_view> value_of(char attribute, std::string_view message) {
  if (message.size() < 2 || message[0] != attribute || message[1] != '=') return std::nullopt;
  return message.substr(2);
}

// Removes the text before the next comma, and the comma, from `message`, and returns it; all of it if there
// is no comma.
std::string_view take_part(std::string_view& message) {
  const std::size_t size = std::min(message.find(','), message.size());
  const auto part = message.substr(0, size);
  message.remove_prefix(std::min(size + 1, message.size()));
  return part;
}

}  // namespace

std::string_view describe(ScramFailure failure) {
  switch (failure) {
    case ScramFailure::no_mechanism:
      return "none of the server's SASL authentication mechanisms are supported";
    case ScramFailure::binding_without_tls: return "channel binding required, but SSL not in use";
    case ScramFailure::binding_not_offered:
      return "channel binding is required, but server did not offer an authentication method that supports "
             "channel binding";
    case ScramFailure::binding_undefined:
      return "channel binding is required, but the signature of the server's certificate defines none";
    case ScramFailure::malformed_message: return "malformed SCRAM message";
    case ScramFailure::nonce_mismatch: return "invalid SCRAM response (nonce mismatch)";
    case ScramFailure::too_many_iterations:
      return "the server asks for too many iterations of its SCRAM hash";
    case ScramFailure::refused: return "error received from server in SCRAM exchange";
    case ScramFailure::incorrect_signature: return "incorrect server signature";
    case ScramFailure::unexpected_message: return "unexpected message in SCRAM exchange";
  }
  return {};
}

ScramClient::ScramClient(const ScramHash& hash, ScramClientTerms terms, std::string nonce)
    : hash_(hash), terms_(std::move(terms)), nonce_(std::move(nonce)) {}

tl::expected<ScramClient::Start, ScramFailure> ScramClient::start(
    const std::vector<std::string_view>& offered) {
  const auto mechanism = ended_by_failure(choose(offered));
  if (!mechanism) return tl::unexpected(mechanism.error());
  client_first_bare_ = "n=,r=" + nonce_;  // the server uses the user of the StartupMessage
  state_ = State::first_sent;
  return Start{*mechanism, gs2_header_ + client_first_bare_};
}

tl::expected<ScramSalting, ScramFailure> ScramClient::take_server_first(ByteView message) {
  auto salting = ended_by_failure(read_server_first(message));
  if (salting) state_ = State::challenged;
  return salting;
}

tl::expected<std::string, ScramFailure> ScramClient::answer(const ScramKeys& keys) {
  if (state_ != State::challenged) {
    state_ = State::failed;
    return tl::unexpected(ScramFailure::unexpected_message);
  }
  Bytes binding(gs2_header_.begin(), gs2_header_.end());
  if (binds_channel()) binding.insert(binding.end(), terms_.end_point.begin(), terms_.end_point.end());
  const std::string without_proof = "c=" + encode_base64(binding) + ",r=" + whole_nonce_;

  const std::string auth_message = auth_message_of(client_first_bare_, server_first_, without_proof);
  const SecretKey stored_key = hash_.sha256(keys.client_key.view());
  const SecretKey proof = with_client_signature(keys.client_key, stored_key, auth_message, hash_);
  server_signature_ = hash_.hmac_sha256(keys.server_key.view(), as_bytes(auth_message));
  state_ = State::final_sent;
  return without_proof + ",p=" + encode_base64(proof.view());
}

tl::expected<void, ScramFailure> ScramClient::take_server_final(ByteView message) {
  auto taken = ended_by_failure(read_server_final(as_text(message)));
  if (taken) state_ = State::finished;
  return taken;
}

// Returns `result`. After a failure the exchange cannot continue.
template <class T>
T ScramClient::ended_by_failure(T result) {
  if (!result) state_ = State::failed;
  return result;
}

tl::expected<std::string_view, ScramFailure> ScramClient::choose(
    const std::vector<std::string_view>& offered) {
  if (state_ != State::initial) return tl::unexpected(ScramFailure::unexpected_message);
  const bool offers_plus = std::ranges::find(offered, kScramSha256Plus) != offered.end();
  const bool offers_plain = std::ranges::find(offered, kScramSha256) != offered.end();
  const bool wants_binding = terms_.channel_binding != ChannelBinding::disable && terms_.has_tls;

  if (offers_plus && wants_binding && !terms_.end_point.empty()) {
    gs2_header_ = kBindingHeader;
    return kScramSha256Plus;
  }
  if (terms_.channel_binding == ChannelBinding::require) {
    if (!terms_.has_tls) return tl::unexpected(ScramFailure::binding_without_tls);
    return tl::unexpected(offers_plus ? ScramFailure::binding_undefined : ScramFailure::binding_not_offered);
  }
  if (!offers_plain) return tl::unexpected(ScramFailure::no_mechanism);
  gs2_header_ = wants_binding && !offers_plus ? "y,," : "n,,";
  return kScramSha256;
}

// Parses r=<our nonce and more>,s=<base64>,i=<count>, and nothing after that.
tl::expected<ScramSalting, ScramFailure> ScramClient::read_server_first(ByteView message) {
  if (state_ != State::first_sent) return tl::unexpected(ScramFailure::unexpected_message);
  const std::string_view text = as_text(message);
  if (std::ranges::count(text, ',') != 2) return tl::unexpected(ScramFailure::malformed_message);
  std::string_view rest = text;
  const auto nonce = value_of('r', take_part(rest));
  const auto salt = value_of('s', take_part(rest));
  const auto iterations = value_of('i', take_part(rest));
  if (!nonce || !is_scram_printable(*nonce) || !salt || !iterations)
    return tl::unexpected(ScramFailure::malformed_message);
  if (!nonce->starts_with(nonce_) || nonce->size() == nonce_.size())
    return tl::unexpected(ScramFailure::nonce_mismatch);

  auto salt_bytes = decode_base64(*salt);
  const auto count = parse_iterations(*iterations);
  if (!salt_bytes || salt_bytes->empty() || !count) return tl::unexpected(ScramFailure::malformed_message);
  if (*count > kMaxScramIterations) return tl::unexpected(ScramFailure::too_many_iterations);

  server_first_ = text;
  whole_nonce_ = *nonce;
  return ScramSalting{*count, std::move(*salt_bytes)};
}

tl::expected<void, ScramFailure> ScramClient::read_server_final(std::string_view message) const {
  if (state_ != State::final_sent) return tl::unexpected(ScramFailure::unexpected_message);
  if (value_of('e', message)) return tl::unexpected(ScramFailure::refused);
  const auto value = value_of('v', message);
  const auto signature = value ? decode_scram_key(*value) : std::nullopt;
  if (!signature) return tl::unexpected(ScramFailure::malformed_message);
  if (!hash_.equal(signature->view(), server_signature_.view()))
    return tl::unexpected(ScramFailure::incorrect_signature);
  return {};
}

}  // namespace pgveil::protocol
