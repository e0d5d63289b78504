// One TLS connection as bytes in, bytes out: ciphertext comes from and goes to the caller's own buffers, so
// that one recv() may carry many records and one send() passes many on, and an idle connection holds no
// buffer. The handshake is OpenSSL's, and what follows one of TLS 1.2; the records of TLS 1.3 are OpenSSL's
// or ours (tls/records_choice.h). Not thread-safe; OpenSSL's error queue is cleared before and read after
// every call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tls/context.h"
#include "tls/failure.h"
#include "tls/peer_certificate.h"

namespace pgveil::tls {

using ByteView = std::span<const std::uint8_t>;

// The caller's memory for what is to be sent, filled from the front.
class Outgoing {
 public:
  explicit Outgoing(std::span<std::uint8_t> memory) : memory_(memory) {}
  [[nodiscard]] ByteView written() const { return memory_.first(used_); }
  [[nodiscard]] std::size_t room() const { return memory_.size() - used_; }
  // Copies as much of `bytes` as fits; returns how much that is.
  std::size_t append(ByteView bytes);
  // Lengthens what is written by `size` bytes, of which there must be room, for the caller to fill.
  [[nodiscard]] std::span<std::uint8_t> extend(std::size_t size);
  // Shortens what is written by its last `size` bytes.
  void take_back(std::size_t size) { used_ -= size; }
  void clear() { used_ = 0; }

 private:
  std::span<std::uint8_t> memory_;
  std::size_t used_ = 0;
};

// What was agreed in the handshake.
struct Established {
  std::string version;                 // "TLSv1.3"
  std::string cipher;                  // "TLS_AES_256_GCM_SHA384"
  std::string group;                   // "X25519"; "-" where the key exchange has none
  bool post_quantum = false;           // whether the group has ML-KEM
  bool own_records = false;            // the records are ours from here on, not OpenSSL's
  bool alpn_agreed = false;            // on `postgresql`
  std::string server_name;             // SNI, as the client sent it, on the server's end; empty: none
  std::string own_sha256_fingerprint;  // of the certificate that we showed; empty: none
  std::optional<PeerCertificate> peer;
  // tls-server-end-point (RFC 5929) of the server's certificate, to which SCRAM-SHA-256-PLUS binds a login:
  // of ours on the server's end, of the peer's on the client's. Empty: it is undefined for that certificate.
  std::vector<std::uint8_t> own_end_point;
  std::vector<std::uint8_t> peer_end_point;
};

class Engine {
 public:
  struct State;  // OpenSSL's objects; complete in engine.cc only

  enum class Status {
    ready,       // handshake(): it is done. read(), write(): went well, go on when there is more to do
    want_input,  // all ciphertext is consumed and more is needed
    want_room,   // `out` is full: send it and call again with the rest
    closed,      // the peer's close_notify has come: the regular end
    failed,      // failure() says why; nothing but sending what is in `out` (an alert) can be done any more
  };

  // The largest plaintext of a record, and what TLS adds to one at most (RFC 8446, 5.1 and 5.2).
  static constexpr std::size_t kMaxRecordPlaintext = 16'384;
  static constexpr std::size_t kMaxRecordExpansion = 256 + 5;
  // What `out` must hold at least once the handshake is done.
  static constexpr std::size_t kLeastRoom = 64;

  // What `plaintext` of read() must hold at least for `ciphertext_size` bytes to be consumed in one call.
  [[nodiscard]] static constexpr std::size_t plaintext_room(std::size_t ciphertext_size) {
    return ciphertext_size + kMaxRecordPlaintext;
  }
  // What `out` of write() must hold at least for `plaintext_size` bytes to be taken in one call.
  [[nodiscard]] static constexpr std::size_t ciphertext_room(std::size_t plaintext_size) {
    return plaintext_size + (plaintext_size / kMaxRecordPlaintext + 2) * kMaxRecordExpansion;
  }

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

  struct Read {
    Status status;
    std::size_t size;  // bytes placed in `plaintext`; may be above 0 with every status
  };
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
