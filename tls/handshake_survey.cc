#include "tls/handshake_survey.h"

#include <openssl/err.h>

#include <algorithm>
#include <new>

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
  bool requests_certificate = false;
};

namespace {

// Security level 0, so that also servers with old keys and ciphers can be described.
constexpr const char* kCiphers = "ALL:!aNULL:!eNULL:@SECLEVEL=0";

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
  SSL_CTX_set_cipher_list(context.get(), kCiphers);
  SSL_CTX_set_cert_verify_callback(context.get(), accept_chain, nullptr);
  SSL_CTX_set_client_cert_cb(context.get(), note_request);
  const std::string protocols = static_cast<char>(kAlpnProtocol.size()) + std::string(kAlpnProtocol);
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

EngineStatus fail(HandshakeSurvey::State& state, FailureReport report) {
  state.failure = std::move(report);
  return EngineStatus::failed;
}

EngineStatus status_of(HandshakeSurvey::State& state, int result) {
  switch (SSL_get_error(state.ssl.get(), result)) {
    case SSL_ERROR_WANT_READ: return EngineStatus::want_input;
    case SSL_ERROR_WANT_WRITE: return EngineStatus::want_room;
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
  const EngineStatus status = result == 1 ? EngineStatus::ready : status_of(*state_, result);
  state_->bytes.incoming = nullptr;
  state_->bytes.outgoing = nullptr;
  return status;
}

void HandshakeSurvey::end_of_input() {
  state_->bytes.end_of_input = true;
}

const FailureReport& HandshakeSurvey::failure() const {
  return state_->failure;
}

SurveyedServer HandshakeSurvey::result() const {
  SSL* ssl = state_->ssl.get();
  return {.agreed = describe(ssl),
          .protocol = std::string(agreed_protocol(ssl)),
          .chain = sent_chain(ssl),
          .requests_certificate = state_->requests_certificate,
          .authorities = names_in(SSL_get0_peer_CA_list(ssl))};
}

}  // namespace pgveil::tls
