// The server's side of SCRAM, for the exchange with a client (src/backend/libpq/auth-scram.c), without input
// and output. Messages are the data of SASLInitialResponse, SASLResponse, AuthenticationSASLContinue and
// AuthenticationSASLFinal; kMaxScramMessageLength is the limit of the first two.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "protocol/frontend.h"
#include "protocol/scram.h"

namespace pgveil::protocol {

// The reason why a client is refused.
enum class ScramRefusal {
  invalid_mechanism,  // not one of those offered
  malformed_message,
  binding_missing,      // SCRAM-SHA-256-PLUS with the flag `n` or `y`
  binding_unexpected,   // SCRAM-SHA-256 with the flag `p`
  binding_negotiation,  // `y`: an attacker has removed SCRAM-SHA-256-PLUS from our offer
  binding_type,         // not tls-server-end-point
  authorization_identity,
  mandatory_extension,  // m=
  nonce_not_printable,
  binding_check,      // the client has received another certificate than ours
  binding_attribute,  // `c=` has another flag than the first message
  nonce_mismatch,
  wrong_proof,         // the same error for a mock secret
  unexpected_message,  // out of order
};
// PostgreSQL's message. For wrong_proof PostgreSQL's message continues with ` for user "ann"`.
struct ScramRefusalText {
  std::string_view sqlstate;
  std::string_view message;
  std::string_view detail;  // may be empty
};
[[nodiscard]] ScramRefusalText describe(ScramRefusal refusal);

// Returns the mechanisms to offer, in this order. Those with binding are offered if the client's connection
// has TLS and tls-server-end-point is defined for the certificate that the client has received.
[[nodiscard]] std::vector<std::string_view> scram_mechanisms(bool has_end_point);

class ScramServer {
 public:
  // `hash` must outlive the server. `end_point` is tls-server-end-point of the certificate that the client
  // has received, or empty; it must agree with the argument of scram_mechanisms(). `nonce` is from
  // scram_nonce().
  ScramServer(const ScramHash& hash, ScramSecret secret, Bytes end_point, std::string nonce);

  // The data to send: in AuthenticationSASLFinal if finished(), otherwise in AuthenticationSASLContinue.
  using Answer = tl::expected<std::string, ScramRefusal>;
  [[nodiscard]] Answer take_initial_response(const SaslInitialResponse& response);
  [[nodiscard]] Answer take_response(ByteView data);

  // Returns whether the client has proved that it knows the password.
  [[nodiscard]] bool finished() const { return state_ == State::finished; }
  // Returns, after finished(), the keys to log in to a server that has the same secret.
  [[nodiscard]] const ScramKeys& keys() const { return keys_; }

 private:
  enum class State { initial, mechanism_chosen, challenged, finished, refused };

  [[nodiscard]] Answer choose_mechanism(const SaslInitialResponse& response);
  [[nodiscard]] Answer take_message(ByteView data);
  [[nodiscard]] Answer take_client_first(std::string_view message);
  [[nodiscard]] Answer take_client_final(std::string_view message);
  [[nodiscard]] std::optional<ScramRefusal> refusal_of_flag(char flag) const;
  [[nodiscard]] std::optional<ScramRefusal> refusal_of_binding(std::string_view attribute) const;
  [[nodiscard]] Answer check_proof(const SecretKey& proof, std::string_view without_proof);

  const ScramHash& hash_;
  const ScramSecret secret_;
  const Bytes end_point_;
  const std::string nonce_;  // our part
  State state_ = State::initial;
  bool binds_channel_ = false;
  char flag_ = 'n';
  std::string client_first_bare_;
  std::string server_first_;
  std::string whole_nonce_;
  ScramKeys keys_;
};

}  // namespace pgveil::protocol
