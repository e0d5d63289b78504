#include "tls/handshake_survey.h"

#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <new>
#include <utility>

#include "tls/host_name.h"
#include "tls/internal/caller_bio.h"
#include "tls/internal/certificate_values.h"
#include "tls/internal/handshake_values.h"
#include "tls/internal/openssl.h"
#include "tls/internal/policy.h"
#include "tls/internal/verification.h"

namespace pgveil::tls {

struct HandshakeSurvey::State {
  SslContext context;
  Ssl ssl;
  CallerBytes bytes;
  FailureReport failure;
  Refusal refusal = Refusal::none;
  bool is_established = false;
  bool requests_certificate = false;
  unsigned tickets = 0;
  std::vector<std::string> protocols;  // that were offered
};

namespace {

// Security level 0, so that also servers with old keys and ciphers can be described.
const char* list_of(SurveyedCiphers ciphers) {
  switch (ciphers) {
    case SurveyedCiphers::all: break;
    case SurveyedCiphers::broken: return "aNULL:eNULL:RC4:LOW:DES:3DES:IDEA:MD5:EXP:!PSK:!SRP:@SECLEVEL=0";
    case SurveyedCiphers::no_forward_secrecy: return "kRSA:!aNULL:!eNULL:!PSK:@SECLEVEL=0";
  }
  return "ALL:!aNULL:!eNULL:@SECLEVEL=0";
}

// The list of ALPN: each name after its size.
std::string alpn_list(const std::vector<std::string>& protocols) {
  std::string list;
  for (const auto& protocol : protocols) list += static_cast<char>(protocol.size()) + protocol;
  return list;
}

// OpenSSL calls this for each session that could be resumed. It is counted, and not kept.
int count_ticket(SSL* ssl, SSL_SESSION* session) {
  if (SSL_SESSION_has_ticket(session) == 1)
    ++static_cast<HandshakeSurvey::State*>(SSL_get_ex_data(ssl, 0))->tickets;
  return 0;
}

// Accepts whatever chain the server has.
int accept_chain(X509_STORE_CTX* /*verification*/, void* /*unused*/) {
  return 1;
}

// OpenSSL calls this if the server asks for a certificate. None is sent.
int note_request(SSL* ssl, X509** /*certificate*/, EVP_PKEY** /*key*/) {
  static_cast<HandshakeSurvey::State*>(SSL_get_ex_data(ssl, 0))->requests_certificate = true;
  return 0;
}

SslContext make_context(const HandshakeSurvey::Question& question) {
  SslContext context(SSL_CTX_new(TLS_client_method()));
  if (!context) throw std::bad_alloc();
  set_common_policy(context.get(), question.min, question.max);
  std::string ciphers = list_of(question.ciphers);
  for (const auto& name : question.without) ciphers += ":!" + name;
  // If nothing is left to offer, no version remains either, so that the handshake fails.
  if (SSL_CTX_set_cipher_list(context.get(), ciphers.c_str()) != 1)
    SSL_CTX_set_max_proto_version(context.get(), SSL3_VERSION);
  SSL_CTX_set_cert_verify_callback(context.get(), accept_chain, nullptr);
  SSL_CTX_set_client_cert_cb(context.get(), note_request);
  SSL_CTX_clear_options(context.get(), SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context.get(), count_ticket);
  const std::string protocols = alpn_list(question.protocols);
  SSL_CTX_set_alpn_protos(context.get(), reinterpret_cast<const unsigned char*>(protocols.data()),
                          static_cast<unsigned>(protocols.size()));
  return context;
}

std::vector<std::string> names_in(const STACK_OF(X509_NAME) * list) {
  std::vector<std::string> names;
  names.reserve(static_cast<std::size_t>(std::max(sk_X509_NAME_num(list), 0)));
  for (int i = 0; i < sk_X509_NAME_num(list); ++i) names.push_back(name_text(sk_X509_NAME_value(list, i)));
  return names;
}

PeerChain sent_chain(const SSL* ssl) {
  PeerChain chain;
  const STACK_OF(X509)* sent = SSL_get_peer_cert_chain(ssl);
  for (int i = 0; i < sk_X509_num(sent); ++i) chain.push_back(der_of(sk_X509_value(sent, i)));
  return chain;
}

// Whether the first error says that there is no version or no cipher in common: by an alert of the server, or because its
// ServerHello has a version that was not offered. Other alerts are sent for other reasons, such as a server that is overloaded.
bool is_about_the_offer() {
  const unsigned long code = ERR_peek_error();
  if (ERR_GET_LIB(code) != ERR_LIB_SSL) return false;
  switch (ERR_GET_REASON(code)) {
    case SSL_AD_REASON_OFFSET + SSL_AD_HANDSHAKE_FAILURE:
    case SSL_AD_REASON_OFFSET + SSL_AD_PROTOCOL_VERSION:
    case SSL_AD_REASON_OFFSET + SSL_AD_INSUFFICIENT_SECURITY:
    case SSL_R_UNSUPPORTED_PROTOCOL: return true;
    default: return false;
  }
}

// Whether the server has ended the handshake, by an alert or by the end of the connection.
bool is_ended_by_server(int error) {
  if (error != SSL_ERROR_SSL) return true;
  const unsigned long code = ERR_peek_error();
  if (ERR_GET_LIB(code) != ERR_LIB_SSL) return false;
  const int reason = ERR_GET_REASON(code);
  return reason >= SSL_AD_REASON_OFFSET || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING;
}

// To be called after a failed handshake, while OpenSSL's error is still there.
HandshakeSurvey::Refusal refusal_of(const HandshakeSurvey::State& state, int error) {
  using Refusal = HandshakeSurvey::Refusal;
  if (state.requests_certificate)
    return is_ended_by_server(error) ? Refusal::of_no_certificate : Refusal::none;
  // With a pending cipher there was a ServerHello.
  const bool has_agreed = SSL_get_pending_cipher(state.ssl.get()) != nullptr;
  return !has_agreed && error == SSL_ERROR_SSL && is_about_the_offer() ? Refusal::of_the_offer
                                                                       : Refusal::none;
}

EngineStatus fail(HandshakeSurvey::State& state, FailureReport report) {
  state.failure = std::move(report);
  return EngineStatus::failed;
}

EngineStatus status_of(HandshakeSurvey::State& state, int result) {
  const int error = SSL_get_error(state.ssl.get(), result);
  if (error == SSL_ERROR_WANT_READ) return EngineStatus::want_input;
  if (error == SSL_ERROR_WANT_WRITE) return EngineStatus::want_room;
  // What comes after the handshake refuses nothing.
  if (!state.is_established) state.refusal = refusal_of(state, error);
  switch (error) {
    case SSL_ERROR_ZERO_RETURN:
    case SSL_ERROR_SYSCALL:
      return fail(state, {.failure = Failure::unexpected_eof,
                          .reason = "the server closed the connection",
                          .subject = {},
                          .issuer = {},
                          .detail = {}});
    default: return fail(state, take_ssl_failure());
  }
}

}  // namespace

HandshakeSurvey::HandshakeSurvey(const Question& question) : state_(std::make_unique<State>()) {
  state_->context = make_context(question);
  state_->protocols = question.protocols;
  state_->ssl.reset(SSL_new(state_->context.get()));
  if (!state_->ssl) throw std::bad_alloc();
  SSL* ssl = state_->ssl.get();
  BIO* bio = make_bio(state_->bytes);
  SSL_set_bio(ssl, bio, bio);
  SSL_set_ex_data(ssl, 0, state_.get());
  if (is_sent_as_sni(question.server_name))
    SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
             const_cast<char*>(question.server_name.c_str()));
  SSL_set_connect_state(ssl);
  ERR_clear_error();
}

HandshakeSurvey::~HandshakeSurvey() = default;

EngineStatus HandshakeSurvey::handshake(ByteView& ciphertext, Outgoing& out) {
  ERR_clear_error();
  state_->bytes.incoming = &ciphertext;
  state_->bytes.outgoing = &out;
  const int result = SSL_do_handshake(state_->ssl.get());
  state_->is_established = result == 1;
  const EngineStatus status = result == 1 ? EngineStatus::ready : status_of(*state_, result);
  state_->bytes.incoming = nullptr;
  state_->bytes.outgoing = nullptr;
  return status;
}

EngineStatus HandshakeSurvey::await_tickets(ByteView& ciphertext, Outgoing& out) {
  constexpr std::size_t kDiscardedBytes = 4096;
  std::array<unsigned char, kDiscardedBytes> discarded{};
  ERR_clear_error();
  state_->bytes.incoming = &ciphertext;
  state_->bytes.outgoing = &out;
  int result = 1;
  while (result > 0)
    result = SSL_read(state_->ssl.get(), discarded.data(), static_cast<int>(discarded.size()));
  const EngineStatus status = status_of(*state_, result);
  state_->bytes.incoming = nullptr;
  state_->bytes.outgoing = nullptr;
  return status;
}

void HandshakeSurvey::end_of_input() {
  state_->bytes.end_of_input = true;
}

HandshakeSurvey::Refusal HandshakeSurvey::refusal() const {
  return state_->refusal;
}

std::string HandshakeSurvey::agreed_cipher() const {
  const SSL_CIPHER* cipher = SSL_get_pending_cipher(state_->ssl.get());
  return cipher == nullptr ? "" : SSL_CIPHER_get_name(cipher);
}

const FailureReport& HandshakeSurvey::failure() const {
  return state_->failure;
}

SurveyedServer HandshakeSurvey::result() const {
  SSL* ssl = state_->ssl.get();
  // OpenSSL takes any protocol. Text of a server that nobody has verified must not be shown as that of the protocol.
  std::string protocol(agreed_protocol(ssl));
  const bool is_known =
      protocol.empty() || std::ranges::find(state_->protocols, protocol) != state_->protocols.end();
  return {.agreed = describe(ssl),
          .protocol = is_known ? std::move(protocol) : std::string(),
          .chose_unknown_protocol = !is_known,
          .chain = sent_chain(ssl),
          .requests_certificate = state_->requests_certificate,
          .requires_certificate = state_->refusal == Refusal::of_no_certificate,
          .authorities = names_in(SSL_get0_peer_CA_list(ssl)),
          .tickets = state_->tickets};
}

}  // namespace pgveil::tls
