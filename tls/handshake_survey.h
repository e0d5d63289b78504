// A handshake with a server whose certificate is not verified, so that `pgveil doctor` can describe what the server does. It
// sends no certificate, and there is no way to send data through it, or to see data that it receives.
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
  std::string protocol;  // of ALPN, one of those that were offered; empty: none
  // The server has chosen a protocol that was not offered, which RFC 7301 forbids. `protocol` is then empty.
  bool chose_unknown_protocol = false;
  PeerChain chain;  // as it was sent, with repeated certificates
  // The server has asked for a certificate of the client.
  bool requests_certificate = false;
  // It has ended the handshake because it got none.
  bool requires_certificate = false;
  std::vector<std::string> authorities;  // that it accepts for it, in the format of RFC 2253
  unsigned tickets = 0;                  // session tickets that have come so far
};

// The ciphers of TLS 1.2 and older that a survey can offer. Those that this OpenSSL does not have cannot be offered.
enum class SurveyedCiphers {
  all,     // except for those without encryption or authentication
  broken,  // without encryption or authentication, or with RC4, DES, 3DES, IDEA, MD5 or export keys
  no_forward_secrecy,  // whoever gets the key of the server can read what was recorded before
};

class HandshakeSurvey {
 public:
  struct State;  // OpenSSL's objects; defined in handshake_survey.cc

  struct Question {
    std::string server_name;  // for SNI; empty: none is sent
    Version min = Version::tls1;
    std::optional<Version> max = std::nullopt;
    std::vector<std::string> protocols = {std::string(kAlpnProtocol)};  // of ALPN
    SurveyedCiphers ciphers = SurveyedCiphers::all;
    std::vector<std::string> without = {};  // names of ciphers that are not offered
  };
  // Throws std::bad_alloc.
  explicit HandshakeSurvey(const Question& question);
  ~HandshakeSurvey();
  HandshakeSurvey(const HandshakeSurvey&) = delete;
  HandshakeSurvey& operator=(const HandshakeSurvey&) = delete;

  // Continues the handshake as Engine::handshake() does.
  [[nodiscard]] EngineStatus handshake(ByteView& ciphertext, Outgoing& out);
  // After handshake() has returned `ready`: processes what the server sends of itself, such as session tickets, and discards any
  // data. Returns want_input if more may come.
  [[nodiscard]] EngineStatus await_tickets(ByteView& ciphertext, Outgoing& out);
  // Declares that no more ciphertext will arrive.
  void end_of_input();

  // What handshake() that has returned `failed` tells of the server.
  enum class Refusal {
    none,               // nothing: it may accept what was offered
    of_the_offer,       // it accepts no version or no cipher that was offered
    of_no_certificate,  // it has agreed to an offer, and requires a certificate: up to TLS 1.2 in the handshake
  };
  [[nodiscard]] Refusal refusal() const;
  // Returns the cipher that the ServerHello has chosen, also if the handshake has failed after it; empty: there was none.
  [[nodiscard]] std::string agreed_cipher() const;
  [[nodiscard]] const FailureReport& failure() const;
  // May be called after handshake() has returned `ready`, or has failed with Refusal::of_no_certificate.
  [[nodiscard]] SurveyedServer result() const;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace pgveil::tls
