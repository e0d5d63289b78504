// One TLS connection as bytes in, bytes out: ciphertext comes from and goes to the caller's own buffers, so
// that one recv() may carry many records and one send() passes many on, and an idle connection holds no
// buffer. The handshake is OpenSSL's, and what follows one of TLS 1.2; the records of TLS 1.3 are OpenSSL's
// or ours (tls/records_choice.h). Not thread-safe; OpenSSL's error queue is cleared before and read after
// every call.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "tls/buffers.h"
#include "tls/client_context.h"
#include "tls/established.h"
#include "tls/failure.h"
#include "tls/server_context.h"

namespace pgveil::tls {

class Engine {
 public:
  struct State;  // OpenSSL's objects; complete in engine.cc only
  using Status = EngineStatus;
  using Read = ReadResult;

  // How the client's end begins.
  struct ServerIdentity {
    std::string host;           // what the certificate must be for
    bool send_sni = true;       // as far as libpq would for such a host
    bool require_alpn = false;  // sslnegotiation=direct
  };
  [[nodiscard]] static std::unique_ptr<Engine> to_server(std::shared_ptr<const ClientContext> context,
                                                         ServerIdentity server);
  [[nodiscard]] static std::unique_ptr<Engine> to_client(std::shared_ptr<const ServerContext> context,
                                                         bool require_alpn);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Goes on with the handshake. Consumes from the front of `ciphertext`; what is left of it after `ready`
  // belongs to read(). The name is checked inside: a wrong one ends the handshake before our certificate or
  // any byte goes out.
  [[nodiscard]] Status handshake(ByteView& ciphertext, Outgoing& out);

  // Decrypts until `ciphertext` and everything that is held of earlier ones is used up (want_input), or
  // `plaintext` is full (ready). May append to `out`, as an alert.
  [[nodiscard]] Read read(ByteView& ciphertext, std::span<std::uint8_t> plaintext, Outgoing& out);

  // Encrypts from the front of `plaintext`: ready once all is taken, want_room while `out` is too small: the
  // next call must then go on with what is left of the same bytes.
  [[nodiscard]] Status write(ByteView& plaintext, Outgoing& out);

  // Says that no ciphertext will come any more; the next handshake() or read() ends with unexpected_eof (or
  // closed, if close_notify came).
  void end_of_input();

  // Appends close_notify, once; nothing after a failure, unless the handshake was done and it is we who will
  // not have it (such as direct TLS without ALPN).
  void close(Outgoing& out);

  [[nodiscard]] const FailureReport& failure() const;
  // Valid once handshake() was `ready`, and once only: the values are kept until then, and OpenSSL's objects
  // of the peer's certificates not even so long.
  [[nodiscard]] Established take_established();

 private:
  explicit Engine(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace pgveil::tls
