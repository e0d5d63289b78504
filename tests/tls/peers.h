// The two ends of a connection in a test, without sockets: our engine, and plain OpenSSL over memory BIOs,
// which represents any other implementation.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/certificates.h"
#include "tls/engine.h"
#include "tls/internal/openssl.h"

namespace pgveil::tls::test {

using Bytes = std::vector<std::uint8_t>;
using pgveil::test::CertificateRequest;
using pgveil::test::Identity;
using pgveil::test::TemporaryFolder;

[[nodiscard]] Bytes bytes_of(std::string_view text);
// The first CN; "" if there is none.
[[nodiscard]] std::string common_name_of(const X509_NAME* name);

// Returns pieces of `piece` bytes each; the last one may be shorter.
inline constexpr std::size_t kWhole = SIZE_MAX;
[[nodiscard]] std::vector<Bytes> cut(const Bytes& bytes, std::size_t piece);

// Our engine, with the buffers of its caller. `room` is the size of the caller's memory for each call. After
// the handshake it must be kMinRoom or more.
class EngineEnd {
 public:
  explicit EngineEnd(std::unique_ptr<Engine> engine, std::size_t room = 65'536)
      : engine_(std::move(engine)), room_(room) {}

  // Continues with the received bytes, and appends bytes to be sent to `sent`.
  Engine::Status handshake(Bytes sent_by_peer, Bytes& sent);
  // Reads until `sent_by_peer` is consumed, and appends the decrypted text to `received`.
  Engine::Status read(const Bytes& sent_by_peer, std::string& received);
  // Returns the ciphertext of `plaintext`.
  Bytes write(std::string_view plaintext);
  Bytes close();

  [[nodiscard]] Engine& engine() { return *engine_; }
  [[nodiscard]] const FailureReport& failure() const { return engine_->failure(); }
  // Returns the results of the handshake. They are taken immediately, so that all later calls test an engine
  // without them.
  [[nodiscard]] const Established& agreed() const { return agreed_; }
  // Returns ciphertext that was received after the handshake.
  [[nodiscard]] const Bytes& early() const { return early_; }
  // Returns how often a call returned want_room.
  [[nodiscard]] int times_out_of_room() const { return times_out_of_room_; }

 private:
  std::unique_ptr<Engine> engine_;
  std::size_t room_;
  Established agreed_;
  Bytes early_;
  int times_out_of_room_ = 0;
};

// Plain OpenSSL as the peer. Its context may be changed before the first SSL is made from it.
class OpenSslEnd {
 public:
  enum class Side { client, server };
  OpenSslEnd(SSL_CTX* context, Side side);

  // Returns whether the handshake is done.
  bool handshake(const Bytes& sent_by_peer, Bytes& sent);
  // Returns all available plaintext.
  std::string read(const Bytes& sent_by_peer);
  Bytes write(std::string_view plaintext);
  Bytes close();
  // Returns the bytes that are ready to be sent.
  Bytes take_sent();
  void give(const Bytes& sent_by_peer);

  [[nodiscard]] SSL* ssl() { return ssl_.get(); }
  // Returns the last error, in OpenSSL's words.
  [[nodiscard]] const std::string& error() const { return error_; }

 private:
  Ssl ssl_;
  std::string error_;
};

// The chain as a peer sends it, in the form in which Established has it.
[[nodiscard]] PeerChain peer_chain_of(const Identity& leaf,
                                      const std::vector<const Identity*>& intermediates = {});
// Returns all fields of a report, for comparisons; "valid" without a report.
[[nodiscard]] std::string text_of(const std::optional<FailureReport>& report);

// Functions that return one result of a handshake, for tables.
inline std::string version_of(const Established& agreed) {
  return agreed.version;
}
inline std::string cipher_of(const Established& agreed) {
  return agreed.cipher;
}
inline std::string group_of(const Established& agreed) {
  return agreed.group;
}

// Returns a context for OpenSslEnd that presents `identity` (and `intermediates`). It has security level 0,
// so that it can present certificates that an engine must refuse.
[[nodiscard]] SslContext openssl_server(const Identity& identity,
                                        const std::vector<const Identity*>& intermediates = {});
[[nodiscard]] SslContext openssl_client();
// Does the same as SSL_CTX_set_tlsext_servername_callback() and _arg() without the macros' C casts.
void on_server_name(SSL_CTX* context, int (*callback)(SSL*, int*, void*), void* argument);

// Runs the handshake until the engine is done or has failed, and then until the peer has read all bytes.
// Bytes arrive in pieces of `piece` bytes.
[[nodiscard]] Engine::Status shake_hands(EngineEnd& engine, OpenSslEnd& peer, std::size_t piece = kWhole);
[[nodiscard]] bool shake_hands(EngineEnd& client, EngineEnd& server);

// Our server and a client of OpenSSL, after all bytes have been exchanged.
struct Acceptance {
  Engine::Status status;
  std::unique_ptr<EngineEnd> server;
  std::unique_ptr<OpenSslEnd> client;
};
// `server_name` is sent as SNI unless it is empty.
[[nodiscard]] Acceptance accept(const std::shared_ptr<const ServerContext>& context, SSL_CTX* client,
                                const std::string& server_name = {});
void set_server_name(SSL* ssl, const std::string& name);
// Makes the client present `identity` if a server asks for a certificate.
void show(SSL_CTX* client, const Identity& identity, const std::vector<const Identity*>& intermediates = {});

// Returns the record layer of a Site's contexts: all tests run with each. The variable
// PGVEIL_TEST_TLS_RECORDS selects it, `own` or `openssl`; the default is our own.
[[nodiscard]] Records records_under_test();

// Return what a certificate for this name, and that of an authority, has to contain.
[[nodiscard]] CertificateRequest named(const std::string& common_name,
                                       pgveil::test::KeyKind key = pgveil::test::KeyKind::p256);
[[nodiscard]] CertificateRequest authority_named(const std::string& common_name);

// An authority, a server's certificate for db.example.com, and the files and contexts made from them.
class Site {
 public:
  static constexpr const char* kHost = "db.example.com";

  Site();

  [[nodiscard]] ClientSettings client_settings() const;
  [[nodiscard]] ServerSettings server_settings() const;
  [[nodiscard]] static std::shared_ptr<const ClientContext> build(const ClientSettings& settings);
  [[nodiscard]] static std::shared_ptr<const ServerContext> build(const ServerSettings& settings);

  [[nodiscard]] EngineEnd engine_to_server(std::size_t room = 65'536) const;
  [[nodiscard]] EngineEnd engine_to_client(std::size_t room = 65'536) const;

  TemporaryFolder folder;
  Identity root;
  Identity server;
};

// Writes a file that is not PEM. Returns its path.
[[nodiscard]] std::string garbage(const Site& site);

}  // namespace pgveil::tls::test
