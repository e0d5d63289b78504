// A handshake with a server whose certificate is not verified, so that `pgveil doctor` can describe what the server does. It
// sends no certificate, and there is no way to send or to receive data through it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tls/buffers.h"
#include "tls/established.h"
#include "tls/failure.h"
#include "tls/peer_certificate.h"
#include "tls/settings.h"

namespace pgveil::tls {

// What a server has agreed to and sent. Nobody has verified it.
struct SurveyedServer {
  Established agreed;
  std::string protocol;  // of ALPN, as the server has sent it; empty: none
  PeerChain chain;       // as it was sent, with repeated certificates
  // The server has asked for a certificate of the client.
  bool requests_certificate = false;
  std::vector<std::string> authorities;  // that it accepts for it, in the format of RFC 2253
};

class HandshakeSurvey {
 public:
  struct State;  // OpenSSL's objects; defined in handshake_survey.cc

  struct Question {
    std::string server_name;  // for SNI; empty: none is sent
    Version min = Version::tls1;
    std::optional<Version> max = std::nullopt;
  };
  // Throws std::bad_alloc.
  explicit HandshakeSurvey(const Question& question);
  ~HandshakeSurvey();
  HandshakeSurvey(const HandshakeSurvey&) = delete;
  HandshakeSurvey& operator=(const HandshakeSurvey&) = delete;

  // Continues the handshake as Engine::handshake() does.
  [[nodiscard]] EngineStatus handshake(ByteView& ciphertext, Outgoing& out);
  // Declares that no more ciphertext will arrive.
  void end_of_input();

  [[nodiscard]] const FailureReport& failure() const;
  // May be called after handshake() has returned `ready`.
  [[nodiscard]] SurveyedServer result() const;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace pgveil::tls
