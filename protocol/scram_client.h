// The client's side of SCRAM, for the exchange with a server (src/interfaces/libpq/fe-auth-scram.c), without
// input and output. Messages are the data of SASLInitialResponse, SASLResponse, AuthenticationSASLContinue
// and AuthenticationSASLFinal.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "protocol/scram.h"

namespace pgveil::protocol {

enum class ChannelBinding { disable, prefer, require };  // libpq's channel_binding

struct ScramClientTerms {
  ChannelBinding channel_binding = ChannelBinding::prefer;
  bool has_tls = false;
  Bytes end_point;  // tls-server-end-point of the server's certificate; empty: undefined, or no TLS
};

// The reason why a client ends the exchange.
enum class ScramFailure {
  no_mechanism,         // neither SCRAM-SHA-256 nor a SCRAM-SHA-256-PLUS that we can use
  binding_without_tls,  // channel_binding=require
  binding_not_offered,  // channel_binding=require
  binding_undefined,    // channel_binding=require, and the certificate's signature has no digest
  malformed_message,    // from the server
  nonce_mismatch,       // the server's nonce does not begin with ours
  too_many_iterations,  // more than kMaxScramIterations
  refused,              // server-final contains `e=`
  incorrect_signature,  // the server does not have the secret, so it is not the right server
  unexpected_message,   // out of order
};
// Returns a sentence, with libpq's wording if libpq has this error.
[[nodiscard]] std::string_view describe(ScramFailure failure);

class ScramClient {
 public:
  // `hash` must outlive the client; `nonce` is from scram_nonce().
  ScramClient(const ScramHash& hash, ScramClientTerms terms, std::string nonce);

  struct Start {
    std::string_view mechanism;
    std::string client_first;
  };
  // Chooses one of the mechanisms that the server offers. If the server offers binding and we do not use it,
  // the message has the flag `n` (the client does not support it). The server would refuse `y` (the client
  // supports it, and the server does not). Without TLS we continue even if binding is offered, unlike libpq:
  // the peer may be a proxy that handles TLS itself.
  [[nodiscard]] tl::expected<Start, ScramFailure> start(const std::vector<std::string_view>& offered);
  // Returns whether the client-first message of start() uses binding.
  [[nodiscard]] bool binds_channel() const { return gs2_header_.front() == 'p'; }

  // Returns the salting for the keys that answer() needs.
  [[nodiscard]] tl::expected<ScramSalting, ScramFailure> take_server_first(ByteView message);
  // Returns client-final.
  [[nodiscard]] tl::expected<std::string, ScramFailure> answer(const ScramKeys& keys);
  // Success means that the server has proved that it has the secret. AuthenticationOk may follow.
  [[nodiscard]] tl::expected<void, ScramFailure> take_server_final(ByteView message);

  // Returns whether take_server_final() succeeded. Before that an AuthenticationOk must be refused.
  [[nodiscard]] bool finished() const { return state_ == State::finished; }

 private:
  enum class State { initial, first_sent, challenged, final_sent, finished, failed };

  template <class T>
  [[nodiscard]] T ended_by_failure(T result);
  [[nodiscard]] tl::expected<std::string_view, ScramFailure> choose(
      const std::vector<std::string_view>& offered);
  [[nodiscard]] tl::expected<ScramSalting, ScramFailure> read_server_first(ByteView message);
  [[nodiscard]] tl::expected<void, ScramFailure> read_server_final(std::string_view message) const;

  const ScramHash& hash_;
  const ScramClientTerms terms_;
  const std::string nonce_;
  State state_ = State::initial;
  std::string gs2_header_ = "n,,";
  std::string client_first_bare_;
  std::string server_first_;
  std::string whole_nonce_;
  SecretKey server_signature_;  // the expected one
};

}  // namespace pgveil::protocol
