// SCRAM towards a server: the client's side of the exchange (src/interfaces/libpq/fe-auth-scram.c), without
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
  Bytes end_point;  // tls-server-end-point of the server's certificate; empty: undefined for it, or no TLS
};

// Why a client does not go on.
enum class ScramFailure {
  no_mechanism,         // neither SCRAM-SHA-256 nor a SCRAM-SHA-256-PLUS that we can take
  binding_without_tls,  // channel_binding=require
  binding_not_offered,  // channel_binding=require
  binding_undefined,    // channel_binding=require, and the certificate's signature has no digest
  malformed_message,    // of the server
  nonce_mismatch,       // the server's nonce does not go on from ours
  too_many_iterations,  // over kMaxScramIterations
  refused,              // server-final says `e=`
  incorrect_signature,  // the server does not know the secret: it is none that we should talk to
  unexpected_message,   // out of order
};
// A sentence, in libpq's words where it has some.
[[nodiscard]] std::string_view describe(ScramFailure failure);

class ScramClient {
 public:
  // `hash` outlives the client; `nonce` is from scram_nonce().
  ScramClient(const ScramHash& hash, ScramClientTerms terms, std::string nonce);

  struct Start {
    std::string_view mechanism;
    std::string client_first;
  };
  // Chooses of what the server offers. Where it offers binding and we do not take it, the message says that
  // we know none (`n`), not that the server does (`y`), which it would refuse. Unlike libpq we go on without
  // TLS though binding is offered: whoever offers it may end TLS itself.
  [[nodiscard]] tl::expected<Start, ScramFailure> start(const std::vector<std::string_view>& offered);
  // Of the client-first message that start() made.
  [[nodiscard]] bool binds_channel() const { return gs2_header_.front() == 'p'; }

  // Which keys answer() needs: those of the password with this salting.
  [[nodiscard]] tl::expected<ScramSalting, ScramFailure> take_server_first(ByteView message);
  // client-final.
  [[nodiscard]] tl::expected<std::string, ScramFailure> answer(const ScramKeys& keys);
  // Without a failure the server has shown that it knows the secret, and AuthenticationOk may come.
  [[nodiscard]] tl::expected<void, ScramFailure> take_server_final(ByteView message);

  // Whether take_server_final() was content: until then an AuthenticationOk is a lie.
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
  SecretKey server_signature_;  // the right one
};

}  // namespace pgveil::protocol
