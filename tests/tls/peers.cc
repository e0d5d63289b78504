#include "tests/tls/peers.h"

#include <openssl/err.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <utility>

namespace pgveil::tls::test {
namespace {

void append(Bytes& to, ByteView bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

CertificateRequest request_for(const std::string& host) {
  CertificateRequest request;
  request.common_names = {host};
  request.alternative_names = {pgveil::test::dns(host)};
  return request;
}

template <class Context, class Settings>
std::shared_ptr<const Context> built(const Settings& settings) {
  auto context = Context::build(settings);
  if (!context) throw std::runtime_error(context.error().front().message);
  return *context;
}

}  // namespace

Bytes bytes_of(std::string_view text) {
  return {text.begin(), text.end()};
}

std::string common_name_of(const X509_NAME* name) {
  const int place = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (place < 0) return "";
  const ASN1_STRING* text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, place));
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<std::size_t>(ASN1_STRING_length(text))};
}

std::vector<Bytes> cut(const Bytes& bytes, std::size_t piece) {
  std::vector<Bytes> pieces;
  for (ByteView rest(bytes); !rest.empty();) {
    const ByteView first = rest.first(std::min(piece, rest.size()));
    pieces.emplace_back(first.begin(), first.end());
    rest = rest.subspan(first.size());
  }
  return pieces;
}

// --- EngineEnd ---

Engine::Status EngineEnd::handshake(Bytes sent_by_peer, Bytes& sent) {
  ByteView ciphertext(sent_by_peer);
  Bytes memory(room_);
  for (;;) {
    Outgoing out(memory);
    const auto status = engine_->handshake(ciphertext, out);
    append(sent, out.written());
    if (status == Engine::Status::ready) {
      append(early_, ciphertext);
      agreed_ = engine_->take_established();
    }
    if (status != Engine::Status::want_room) return status;
    ++times_out_of_room_;
  }
}

Engine::Status EngineEnd::read(const Bytes& sent_by_peer, std::string& received) {
  ByteView ciphertext(sent_by_peer);
  Bytes plaintext(plaintext_room(sent_by_peer.size()));
  Bytes memory(std::max(room_, kMinRoom));
  for (;;) {
    Outgoing out(memory);
    const auto [status, size] = engine_->read(ciphertext, plaintext, out);
    received.append(plaintext.begin(), plaintext.begin() + static_cast<std::ptrdiff_t>(size));
    if (status != Engine::Status::ready) return status;
  }
}

Bytes EngineEnd::write(std::string_view plaintext) {
  Bytes copy = bytes_of(plaintext);
  ByteView rest(copy);
  Bytes memory(std::max(room_, kMinRoom));
  Bytes sent;
  for (;;) {
    Outgoing out(memory);
    const auto status = engine_->write(rest, out);
    append(sent, out.written());
    if (status == Engine::Status::ready) return sent;
    if (status != Engine::Status::want_room) throw std::runtime_error("write(): " + failure().reason);
    ++times_out_of_room_;
    // The remaining bytes are at another address, as in the queue of a caller.
    Bytes moved(rest.begin(), rest.end());
    copy.swap(moved);
    rest = copy;
  }
}

Bytes EngineEnd::close() {
  Bytes memory(std::max(room_, kMinRoom));
  Outgoing out(memory);
  engine_->close(out);
  return {out.written().begin(), out.written().end()};
}

PeerChain peer_chain_of(const Identity& leaf, const std::vector<const Identity*>& intermediates) {
  PeerChain chain;
  const auto add = [&chain](const Identity& identity) {
    Bytes der(static_cast<std::size_t>(i2d_X509(identity.certificate(), nullptr)));
    unsigned char* end = der.data();
    i2d_X509(identity.certificate(), &end);
    chain.push_back(std::move(der));
  };
  add(leaf);
  for (const Identity* each : intermediates) add(*each);
  return chain;
}

std::string text_of(const std::optional<FailureReport>& report) {
  if (!report) return "valid";
  std::string text(name_of(report->failure));
  for (const std::string& part :
       {report->reason, std::to_string(report->depth), report->subject, report->issuer, report->detail})
    text.append(" | ").append(part);
  return text + " | " + (report->peer ? report->peer->sha256_fingerprint : "");
}

// --- OpenSslEnd ---

OpenSslEnd::OpenSslEnd(SSL_CTX* context, Side side) : ssl_(SSL_new(context)) {
  SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  side == Side::client ? SSL_set_connect_state(ssl_.get()) : SSL_set_accept_state(ssl_.get());
}

bool OpenSslEnd::handshake(const Bytes& sent_by_peer, Bytes& sent) {
  give(sent_by_peer);
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl());
  if (result != 1 && SSL_get_error(ssl(), result) == SSL_ERROR_SSL) error_ = take_openssl_error();
  append(sent, take_sent());
  return result == 1;
}

std::string OpenSslEnd::read(const Bytes& sent_by_peer) {
  give(sent_by_peer);
  std::string all;
  char buffer[16'384];
  for (;;) {
    ERR_clear_error();
    const int size = SSL_read(ssl(), buffer, sizeof buffer);
    if (size <= 0) {
      if (SSL_get_error(ssl(), size) == SSL_ERROR_SSL) error_ = take_openssl_error();
      return all;
    }
    all.append(buffer, static_cast<std::size_t>(size));
  }
}

Bytes OpenSslEnd::write(std::string_view plaintext) {
  SSL_write(ssl(), plaintext.data(), static_cast<int>(plaintext.size()));
  return take_sent();
}

Bytes OpenSslEnd::close() {
  SSL_shutdown(ssl());
  return take_sent();
}

Bytes OpenSslEnd::take_sent() {
  BIO* bio = SSL_get_wbio(ssl());
  Bytes sent(BIO_ctrl_pending(bio));
  if (!sent.empty()) BIO_read(bio, sent.data(), static_cast<int>(sent.size()));
  return sent;
}

void OpenSslEnd::give(const Bytes& sent_by_peer) {
  if (!sent_by_peer.empty())
    BIO_write(SSL_get_rbio(ssl()), sent_by_peer.data(), static_cast<int>(sent_by_peer.size()));
}

SslContext openssl_server(const Identity& identity, const std::vector<const Identity*>& intermediates) {
  SslContext context(SSL_CTX_new(TLS_server_method()));
  SSL_CTX_set_security_level(context.get(), 0);
  SSL_CTX_use_certificate(context.get(), identity.certificate());
  SSL_CTX_use_PrivateKey(context.get(), identity.key());
  for (const Identity* intermediate : intermediates)
    SSL_CTX_add1_chain_cert(context.get(), intermediate->certificate());
  SSL_CTX_set_num_tickets(context.get(), 0);
  return context;
}

SslContext openssl_client() {
  SslContext context(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_security_level(context.get(), 0);
  return context;
}

void on_server_name(SSL_CTX* context, int (*callback)(SSL*, int*, void*), void* argument) {
  SSL_CTX_callback_ctrl(context, SSL_CTRL_SET_TLSEXT_SERVERNAME_CB, reinterpret_cast<void (*)()>(callback));
  SSL_CTX_ctrl(context, SSL_CTRL_SET_TLSEXT_SERVERNAME_ARG, 0, argument);
}

// --- handshakes ---

Engine::Status shake_hands(EngineEnd& engine, OpenSslEnd& peer, std::size_t piece) {
  Bytes to_peer;
  Bytes to_engine;
  auto status = engine.handshake({}, to_peer);
  bool peer_done = false;
  while (!to_peer.empty() || !to_engine.empty()) {
    for (const auto& arriving : cut(std::exchange(to_peer, {}), piece)) {
      if (!peer_done) peer_done = peer.handshake(arriving, to_engine);
    }
    for (const auto& arriving : cut(std::exchange(to_engine, {}), piece)) {
      if (status == Engine::Status::want_input) status = engine.handshake(arriving, to_peer);
    }
  }
  return status;
}

bool shake_hands(EngineEnd& client, EngineEnd& server) {
  auto client_status = Engine::Status::want_input;
  auto server_status = Engine::Status::want_input;
  Bytes to_client;
  for (int round = 0; round < 4; ++round) {
    Bytes to_server;
    if (client_status == Engine::Status::want_input) client_status = client.handshake(to_client, to_server);
    to_client.clear();
    if (server_status == Engine::Status::want_input) server_status = server.handshake(to_server, to_client);
  }
  return client_status == Engine::Status::ready && server_status == Engine::Status::ready;
}

Acceptance accept(const std::shared_ptr<const ServerContext>& context, SSL_CTX* client,
                  const std::string& server_name) {
  Acceptance accepted{Engine::Status::want_input,
                      std::make_unique<EngineEnd>(Engine::to_client(context, false)),
                      std::make_unique<OpenSslEnd>(client, OpenSslEnd::Side::client)};
  if (!server_name.empty()) set_server_name(accepted.client->ssl(), server_name);
  Bytes to_server;
  Bytes to_client;
  bool client_done = accepted.client->handshake({}, to_server);
  while (!to_server.empty()) {
    if (accepted.status == Engine::Status::want_input)
      accepted.status = accepted.server->handshake(std::exchange(to_server, {}), to_client);
    to_server.clear();
    // With TLS 1.3 a client has finished before the server has verified it, and then reads the result.
    if (client_done)
      accepted.client->read(std::exchange(to_client, {}));
    else
      client_done = accepted.client->handshake(std::exchange(to_client, {}), to_server);
  }
  return accepted;
}

void set_server_name(SSL* ssl, const std::string& name) {
  SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, const_cast<char*>(name.c_str()));
}

void show(SSL_CTX* client, const Identity& identity, const std::vector<const Identity*>& intermediates) {
  SSL_CTX_use_certificate(client, identity.certificate());
  SSL_CTX_use_PrivateKey(client, identity.key());
  for (const Identity* intermediate : intermediates)
    SSL_CTX_add1_chain_cert(client, intermediate->certificate());
}

// --- Site ---

Site::Site() : root(pgveil::test::authority("Test Root")), server(issued_by(root, request_for(kHost))) {
  folder.write("root.crt", root.certificate_pem());
  folder.write("server.crt", server.certificate_pem());
  folder.write("server.key", server.key_pem());
}

Records records_under_test() {
  const char* word = std::getenv("PGVEIL_TEST_TLS_RECORDS");
  return word != nullptr && std::string_view(word) == "openssl" ? Records::openssl : Records::own;
}

ClientSettings Site::client_settings() const {
  ClientSettings settings;
  settings.sslrootcert = folder.path("root.crt");
  settings.records = records_under_test();
  return settings;
}

ServerSettings Site::server_settings() const {
  ServerSettings settings;
  settings.certificates = {{{}, folder.path("server.crt"), folder.path("server.key")}};
  settings.records = records_under_test();
  return settings;
}

std::shared_ptr<const ClientContext> Site::build(const ClientSettings& settings) {
  return built<ClientContext>(settings);
}

std::shared_ptr<const ServerContext> Site::build(const ServerSettings& settings) {
  return built<ServerContext>(settings);
}

EngineEnd Site::engine_to_server(std::size_t room) const {
  return EngineEnd(Engine::to_server(build(client_settings()), {.host = kHost}), room);
}

EngineEnd Site::engine_to_client(std::size_t room) const {
  return EngineEnd(Engine::to_client(build(server_settings()), false), room);
}

CertificateRequest named(const std::string& common_name, pgveil::test::KeyKind key) {
  CertificateRequest request;
  request.common_names = {common_name};
  request.key = key;
  return request;
}

CertificateRequest authority_named(const std::string& common_name) {
  CertificateRequest request = named(common_name);
  request.authority = true;
  return request;
}

std::string garbage(const Site& site) {
  return site.folder.write("garbage.pem", "this is no PEM\n");
}

}  // namespace pgveil::tls::test
