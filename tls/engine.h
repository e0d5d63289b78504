// One TLS connection without input or output of its own: it reads ciphertext from and writes ciphertext to
// the caller's buffers. So one recv() may bring many records, one send() may send many, and an idle
// connection holds no buffer. OpenSSL does the handshake, and the records of TLS 1.2. The records of TLS 1.3
// are handled by OpenSSL or by our record layer (tls/records_choice.h). Not thread-safe. OpenSSL's error
// queue is cleared before every call and read after it.
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
  struct State;  // OpenSSL's objects; defined in engine.cc
  using Status = EngineStatus;
  using Read = ReadResult;

  // The server that a connection of a client expects.
  struct ServerIdentity {
    std::string host;           // the host that the certificate must be for
    bool send_sni = true;       // false: no SNI; true: SNI if libpq would send it for this host
    bool require_alpn = false;  // sslnegotiation=direct
  };
  [[nodiscard]] static std::unique_ptr<Engine> to_server(std::shared_ptr<const ClientContext> context,
                                                         ServerIdentity server);
  [[nodiscard]] static std::unique_ptr<Engine> to_client(std::shared_ptr<const ServerContext> context,
                                                         bool require_alpn);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // The largest handshake, in bytes of the peer. A chain of certificates has a few KiB; OpenSSL accepts 100 KiB.
  // Messages that OpenSSL ignores, such as HelloRequest, would otherwise make a handshake endless.
  static constexpr std::size_t kMaxHandshakeBytes = 1'048'576;

  // Continues the handshake. Consumes bytes from the front of `ciphertext`. After `ready`, the remaining
  // bytes must be given to read(). Fails if the peer has sent more than kMaxHandshakeBytes. Checks the name in the server's certificate: a wrong name ends the
  // handshake before our certificate or any data is sent.
  [[nodiscard]] Status handshake(ByteView& ciphertext, Outgoing& out);

  // Decrypts until `ciphertext` and all ciphertext kept from earlier calls are consumed (want_input), or
  // until `plaintext` is full (ready). May append to `out`, for example an alert.
  [[nodiscard]] Read read(ByteView& ciphertext, std::span<std::uint8_t> plaintext, Outgoing& out);

  // Encrypts from the front of `plaintext`. Returns ready when all of it is consumed, and want_room if `out`
  // is too small: the next call must then continue with the remaining bytes.
  [[nodiscard]] Status write(ByteView& plaintext, Outgoing& out);

  // Declares that no more ciphertext will arrive. The next handshake() or read() returns failed
  // (unexpected_eof), or closed if close_notify was received.
  void end_of_input();

  // Ends the connection as failed: nothing is read or written any more, and no alert is sent.
  void give_up(std::string reason);

  // Appends close_notify, once. Appends nothing after a failure, with one exception: the handshake succeeded
  // and pgveil refused the connection (such as direct TLS without ALPN).
  void close(Outgoing& out);

  [[nodiscard]] const FailureReport& failure() const;
  // May be called once, after handshake() has returned `ready`. The values are kept until this call;
  // OpenSSL's objects of the peer's certificates are freed earlier.
  [[nodiscard]] Established take_established();

 private:
  explicit Engine(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace pgveil::tls
