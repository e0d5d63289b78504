#include "tls/engine.h"

#include <openssl/err.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <new>

#include "tls/internal/caller_bio.h"
#include "tls/internal/certificate_values.h"
#include "tls/internal/handshake_cleanup.h"
#include "tls/internal/handshake_settings.h"
#include "tls/internal/handshake_values.h"
#include "tls/internal/key_shares.h"
#include "tls/internal/openssl.h"
#include "tls/internal/own_certificate.h"
#include "tls/internal/policy.h"
#include "tls/internal/record_layer.h"
#include "tls/internal/traffic_secrets.h"
#include "tls/internal/verification.h"

namespace pgveil::tls {

// The state of a connection, which OpenSSL's callbacks also use.
struct Engine::State {
  enum class Stage {
    handshaking,
    established,
    refused,  // the handshake succeeded and we refuse the connection: only close() may follow
    failed,
  };

  std::shared_ptr<const void> context;      // keeps the policy alive
  Ssl ssl;                                  // null once `records` has replaced it
  std::unique_ptr<TrafficSecrets> secrets;  // for our record layer, until the handshake is done
  std::unique_ptr<RecordLayer> records;
  std::unique_ptr<Established> established;  // until take_established()
  std::optional<std::string> host;  // expected in the server's certificate; empty on the server's side
  CommonNameRule common_name = CommonNameRule::fallback;
  PostQuantum post_quantum = PostQuantum::prefer;
  bool require_alpn = false;
  bool keep_peer_chain = false;
  KeyShares* key_shares = nullptr;  // owned by the context; null on the server's side
  KeyShares::Choice key_share = KeyShares::Choice::own;
  Stage stage = Stage::handshaking;
  bool host_matched = false;      // verify_callback() has verified the server's chain and name
  bool verdict_given = false;     // verify_callback() has set `failure`
  bool is_out_of_memory = false;  // verify_callback() ran out of memory and has not decided
  FailureReport failure;
  std::size_t handshake_bytes = 0;  // that the peer has sent and OpenSSL has consumed

  CallerBytes bytes;
};

namespace {

using State = Engine::State;

FailureReport plain_failure(Failure failure, std::string reason) {
  return {
      .failure = failure, .reason = std::move(reason), .depth = 0, .subject = {}, .issuer = {}, .detail = {}};
}

// Returns 1 if OpenSSL shall continue, otherwise 0. Also checks the server's name: a wrong name ends the
// handshake here, before our certificate or any data is sent.
int verdict(State& state, bool accepted, X509_STORE_CTX* verification) {
  if (!accepted) {
    state.failure = report_of(verification);
    state.verdict_given = true;
    return 0;
  }
  if (!state.host || X509_STORE_CTX_get_error_depth(verification) != 0) return 1;
  X509* leaf = X509_STORE_CTX_get_current_cert(verification);
  state.host_matched = match_host(*state.host, names_of(leaf), state.common_name) == HostMatch::match;
  if (state.host_matched) return 1;
  X509_STORE_CTX_set_error(verification, X509_V_ERR_HOSTNAME_MISMATCH);
  state.failure = wrong_name_report(leaf, *state.host, state.common_name);
  state.verdict_given = true;
  return 0;
}

// OpenSSL calls this for every certificate of the chain, the leaf last, and for every error. An exception
// must not pass through OpenSSL's functions, which would then free nothing. handshake() throws it again.
int verify_callback(int accepted, X509_STORE_CTX* verification) {
  auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto& state = *static_cast<State*>(SSL_get_ex_data(ssl, 0));
  try {
    return verdict(state, accepted != 0, verification);
  } catch (const std::bad_alloc&) {
    state.is_out_of_memory = true;
    X509_STORE_CTX_set_error(verification, X509_V_ERR_OUT_OF_MEM);
    return 0;
  }
}

// SSL_get_error() reads the error queue, so the queue must be empty before each call. It nearly always is,
// and checking it is much cheaper than clearing it.
void forget_errors() {
  if (ERR_peek_error() != 0) ERR_clear_error();
}

// Gives the BIO access to the caller's buffers during a call.
class BioScope {
 public:
  BioScope(State& state, ByteView* incoming, Outgoing* outgoing) : state_(state) {
    state_.bytes.incoming = incoming;
    state_.bytes.outgoing = outgoing;
    forget_errors();
  }
  ~BioScope() {
    state_.bytes.incoming = nullptr;
    state_.bytes.outgoing = nullptr;
  }
  BioScope(const BioScope&) = delete;
  BioScope& operator=(const BioScope&) = delete;

 private:
  State& state_;
};

// Refuses a connection after a successful handshake. The peer gets close_notify, as from PostgreSQL, not an
// alert.
Engine::Status refuse(State& state, Failure failure, std::string reason) {
  state.stage = State::Stage::refused;
  state.failure = plain_failure(failure, std::move(reason));
  return Engine::Status::failed;
}

Engine::Status fail(State& state, FailureReport report) {
  if (state.stage == State::Stage::handshaking && state.key_shares != nullptr)
    state.key_shares->forget(*state.host);
  state.stage = State::Stage::failed;
  if (!state.verdict_given) state.failure = std::move(report);
  return Engine::Status::failed;
}

// Returns OpenSSL's error, with details from the state of the connection.
Engine::Status fail_as_openssl_says(State& state) {
  // A server that has sent its certificate has accepted all other parameters. Before TLS 1.3 this alert then
  // means that the server requires a client certificate (RFC 5246, 7.4.6).
  const int reason = ERR_GET_REASON(ERR_peek_error());
  const bool wants_certificate = state.host_matched && reason == SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE;
  FailureReport report = take_ssl_failure();
  if (wants_certificate) report.failure = Failure::rejected_by_peer;
  // The client has rejected our certificate. After a handshake of TLS 1.3 there may be no OpenSSL object for
  // the details.
  const bool is_server = !state.host && state.ssl;
  if (is_server && report.failure == Failure::rejected_by_peer)
    if (X509* shown = SSL_get_certificate(state.ssl.get()))
      report.detail = shown_certificate_text(shown, server_name(state.ssl.get()));
  const bool has_nothing_in_common =
      report.failure == Failure::no_common_version || report.failure == Failure::no_common_parameters;
  if (state.post_quantum == PostQuantum::require && has_nothing_in_common)
    report.detail = no_post_quantum_text(is_server, report.reason);
  // The only callback of ours that fails with this error is the one that selects a certificate by name.
  if (reason == SSL_R_CALLBACK_FAILED) report = unrecognized_name_report(server_name(state.ssl.get()));
  return fail(state, std::move(report));
}

// Returns what an unsuccessful SSL call is waiting for, or its error.
Engine::Status status_of(State& state, int result) {
  switch (SSL_get_error(state.ssl.get(), result)) {
    case SSL_ERROR_WANT_READ: return Engine::Status::want_input;
    case SSL_ERROR_WANT_WRITE: return Engine::Status::want_room;
    case SSL_ERROR_ZERO_RETURN: return Engine::Status::closed;
    case SSL_ERROR_SYSCALL:
      // OpenSSL 3.2 and newer report a close_notify like this if a warning came before it, as from Java.
      if ((SSL_get_shutdown(state.ssl.get()) & SSL_RECEIVED_SHUTDOWN) != 0) return Engine::Status::closed;
      return fail(state, plain_failure(Failure::unexpected_eof, "the connection ended without close_notify"));
    default: return fail_as_openssl_says(state);
  }
}

// Returns the maximum content of a record that the client accepts (RFC 6066, 4).
std::size_t most_content(const SSL* ssl) {
  const SSL_SESSION* session = SSL_get_session(ssl);
  switch (session == nullptr ? TLSEXT_max_fragment_length_DISABLED
                             : SSL_SESSION_get_max_fragment_length(session)) {
    case TLSEXT_max_fragment_length_512: return 512;
    case TLSEXT_max_fragment_length_1024: return 1'024;
    case TLSEXT_max_fragment_length_2048: return 2'048;
    case TLSEXT_max_fragment_length_4096: return 4'096;
    default: return TrafficKey::kMaxContent;
  }
}

// Replaces OpenSSL's connection with our record layer after a handshake of TLS 1.3, and frees it. Returns
// false if OpenSSL's connection must stay. Nothing has been read or written with the new keys yet: the
// handshake ends with a message under the old keys, neither side sends tickets immediately
// (set_common_policy()), and OpenSSL consumes no more of the caller's bytes than the current record.
bool switch_to_record_layer(State& state) {
  const SSL* ssl = state.ssl.get();
  const auto* suite = find_cipher_suite(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl)));
  if (state.secrets == nullptr || SSL_version(ssl) != TLS1_3_VERSION || suite == nullptr ||
      SSL_has_pending(ssl) != 0)
    return false;
  const auto& [client, server] = *state.secrets;
  if (!fit(*state.secrets, *suite)) return false;
  const bool is_client = SSL_is_server(ssl) == 0;
  auto records = std::make_unique<RecordLayer>(RecordLayer::Agreement{.suite = *suite,
                                                                      .read = is_client ? server : client,
                                                                      .write = is_client ? client : server,
                                                                      .is_client = is_client,
                                                                      .most_content = most_content(ssl)});
  if (!records->is_usable()) {
    ERR_clear_error();
    return false;
  }
  state.records = std::move(records);
  if (state.bytes.end_of_input) state.records->end_of_input();
  state.ssl.reset();
  return true;
}

// Checks what OpenSSL does not check, once its handshake is done. Nothing is read or written earlier.
Engine::Status check_handshake(State& state) {
  const SSL* ssl = state.ssl.get();
  // verify_callback() has already ended the handshake if one of these conditions is false. This second check refuses a
  // connection that has bypassed verify_callback() in an unknown way.
  if (state.host && !(state.host_matched && SSL_get_verify_result(ssl) == X509_V_OK &&
                      SSL_get0_peer_certificate(ssl) != nullptr))
    return refuse(state, Failure::no_certificate, "the server has no verified certificate");
  if (!state.host && SSL_get_verify_result(ssl) != X509_V_OK)
    return refuse(state, Failure::invalid_certificate, "the client's certificate is not verified");
  // Some releases of OpenSSL accept a protocol that was not offered.
  const std::string_view protocol = agreed_protocol(ssl);
  if (!protocol.empty() && protocol != kAlpnProtocol)
    return refuse(state, Failure::no_application_protocol,
                  "TLS was established with an unexpected ALPN protocol");
  if (protocol.empty() && state.require_alpn)
    return refuse(state, Failure::no_application_protocol,
                  "direct TLS was established without ALPN protocol negotiation");
  auto established = std::make_unique<Established>(describe(state.ssl.get()));
  if (state.keep_peer_chain) established->peer_chain = peer_chain(ssl);
  // The context offers and accepts no other groups, so this is a second check.
  if (state.post_quantum == PostQuantum::require && !is_hybrid(established->group))
    return refuse(state, Failure::no_common_parameters, "TLS was established without ML-KEM");
  state.stage = State::Stage::established;
  if (state.key_shares != nullptr)
    state.key_shares->learn(state.ssl.get(), *state.host, state.key_share, KeyShares::Clock::now());
  state.established = std::move(established);
  if (switch_to_record_layer(state)) {
    state.established->own_records = true;
  } else {
    if (state.secrets != nullptr) tell_traffic_secrets(state.ssl.get(), nullptr);
    // OpenSSL reads this limit from the session, and forget_peer() removes most of the session.
    SSL_ctrl(state.ssl.get(), SSL_CTRL_SET_MAX_SEND_FRAGMENT,
             static_cast<long>(most_content(state.ssl.get())), nullptr);
    forget_key_exchange(state.ssl.get());
    forget_peer(state.ssl.get());
  }
  state.secrets.reset();
  return Engine::Status::ready;
}

// Does the same as SSL_set_tlsext_host_name() without the macro's C cast. OpenSSL copies the name.
void send_server_name(SSL* ssl, const std::string& host) {
  SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, const_cast<char*>(host.c_str()));
}

// Returns the state of a new connection.
std::unique_ptr<State> make_state(SSL_CTX* context, bool own_records) {
  auto state = std::make_unique<State>();
  SSL* ssl = SSL_new(context);
  if (ssl == nullptr) throw std::bad_alloc();
  state->ssl.reset(ssl);
  BIO* bio = make_bio(state->bytes);
  SSL_set_bio(ssl, bio, bio);
  SSL_set_ex_data(ssl, 0, state.get());
  if (own_records) {
    state->secrets = std::make_unique<TrafficSecrets>();
    tell_traffic_secrets(ssl, state->secrets.get());
  }
  return state;
}

int clamped(std::size_t size) {
  return static_cast<int>(std::min<std::size_t>(size, INT_MAX));
}

}  // namespace

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}
Engine::~Engine() = default;

std::unique_ptr<Engine> Engine::to_server(std::shared_ptr<const ClientContext> context,
                                          ServerIdentity server) {
  auto state = make_state(context->context_, context->rules_.own_records);
  SSL* ssl = state->ssl.get();
  // load_own_certificate() has checked the certificate, so only lack of memory can make this fail.
  if (context->own_ && !use(ssl, *context->own_)) throw std::bad_alloc();
  state->key_shares = context->key_shares_.get();
  state->key_share = state->key_shares->choose(ssl, server.host, KeyShares::Clock::now());
  state->common_name = context->rules_.common_name;
  state->post_quantum = context->rules_.post_quantum;
  state->keep_peer_chain = context->rules_.keep_peer_chain;
  state->context = std::move(context);
  SSL_set_verify(ssl, SSL_VERIFY_PEER, verify_callback);
  if (server.send_sni && is_sent_as_sni(server.host)) send_server_name(ssl, server.host);
  SSL_set_connect_state(ssl);
  state->host = std::move(server.host);
  state->require_alpn = server.require_alpn;
  return std::unique_ptr<Engine>(new Engine(std::move(state)));
}

std::unique_ptr<Engine> Engine::to_client(std::shared_ptr<const ServerContext> context, bool require_alpn) {
  auto state = make_state(context->context_, context->rules_.own_records);
  state->post_quantum = context->rules_.post_quantum;
  state->keep_peer_chain = context->rules_.keep_peer_chain;
  state->context = std::move(context);
  SSL* ssl = state->ssl.get();
  SSL_set_verify(ssl, SSL_get_verify_mode(ssl), verify_callback);
  SSL_set_accept_state(ssl);
  state->require_alpn = require_alpn;
  return std::unique_ptr<Engine>(new Engine(std::move(state)));
}

Engine::Status Engine::handshake(ByteView& ciphertext, Outgoing& out) {
  State& state = *state_;
  if (state.stage == State::Stage::established) return Status::ready;
  if (state.stage != State::Stage::handshaking) return Status::failed;
  const BioScope bio_scope(state, &ciphertext, &out);
  const std::size_t received = ciphertext.size();
  const int result = SSL_do_handshake(state.ssl.get());
  state.handshake_bytes += received - ciphertext.size();
  if (state.is_out_of_memory) throw std::bad_alloc();
  if (result == 1) return check_handshake(state);
  const Status status = status_of(state, result);
  if (status == Status::want_input && state.handshake_bytes > kMaxHandshakeBytes)
    return fail(state, plain_failure(Failure::protocol_error, "the TLS handshake is larger than 1 MiB"));
  if (status != Status::closed) return status;
  return fail(state, plain_failure(Failure::unexpected_eof, "the peer closed TLS inside the handshake"));
}

Engine::Read Engine::read(ByteView& ciphertext, std::span<std::uint8_t> plaintext, Outgoing& out) {
  State& state = *state_;
  if (state.stage != State::Stage::established) return {Status::failed, 0};
  if (state.records != nullptr) {
    forget_errors();
    const auto read = state.records->read(ciphertext, plaintext, out);
    return {read.status == Status::failed ? fail_as_openssl_says(state) : read.status, read.size};
  }
  const BioScope bio_scope(state, &ciphertext, &out);
  SSL* ssl = state.ssl.get();
  std::size_t size = 0;
  while (size < plaintext.size()) {
    const int result = SSL_read(ssl, plaintext.data() + size, clamped(plaintext.size() - size));
    if (result <= 0) return {status_of(state, result), size};
    size += static_cast<std::size_t>(result);
    // Both sides of the BIO are empty: another SSL_read() would only return that more is needed.
    if (ciphertext.empty() && SSL_has_pending(ssl) == 0) return {Status::want_input, size};
    forget_errors();
  }
  return {Status::ready, size};
}

Engine::Status Engine::write(ByteView& plaintext, Outgoing& out) {
  State& state = *state_;
  if (state.stage != State::Stage::established) return Status::failed;
  if (state.records != nullptr) {
    forget_errors();
    const auto status = state.records->write(plaintext, out);
    return status == Status::failed ? fail_as_openssl_says(state) : status;
  }
  const BioScope bio_scope(state, nullptr, &out);
  while (!plaintext.empty()) {
    const int result = SSL_write(state.ssl.get(), plaintext.data(), clamped(plaintext.size()));
    if (result <= 0) return status_of(state, result);
    plaintext = plaintext.subspan(static_cast<std::size_t>(result));
    forget_errors();
  }
  return Status::ready;
}

void Engine::end_of_input() {
  state_->bytes.end_of_input = true;
  if (state_->records != nullptr) state_->records->end_of_input();
}

void Engine::give_up(std::string reason) {
  state_->stage = State::Stage::failed;
  state_->failure = plain_failure(Failure::protocol_error, std::move(reason));
}

void Engine::close(Outgoing& out) {
  State& state = *state_;
  // After a failure OpenSSL has already sent its alert. Before the handshake is done, close_notify has no
  // meaning.
  if (state.stage != State::Stage::established && state.stage != State::Stage::refused) return;
  if (state.records != nullptr) return state.records->close(out);
  const BioScope bio_scope(state, nullptr, &out);
  if ((SSL_get_shutdown(state.ssl.get()) & SSL_SENT_SHUTDOWN) == 0) SSL_shutdown(state.ssl.get());
  ERR_clear_error();
}

const FailureReport& Engine::failure() const {
  return state_->failure;
}

Established Engine::take_established() {
  const auto established = std::move(state_->established);
  return std::move(*established);
}

}  // namespace pgveil::tls
