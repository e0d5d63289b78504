#include "proxy/session/session_observer.h"

#include <utility>

namespace pgveil::proxy {

void SessionObserver::note_client(Client client) {
  record_->session = std::move(client.session);
  record_->worker = client.worker;
  record_->client = std::move(client.address);
  record_->listener = std::move(client.listener);
  record_->upstream = std::move(client.upstream);
}

void SessionObserver::note_proxied(std::string client, std::string proxy) {
  record_->client = std::move(client);
  record_->proxy = std::move(proxy);
}

void SessionObserver::note_refused_certificate(std::shared_ptr<const tls::PeerCertificate> certificate) {
  record_->refused_certificate = std::move(certificate);
}

void SessionObserver::note_request(const protocol::StartupMessage& startup) {
  record_->requested_user = startup.user();
  note_startup(startup);
}

void SessionObserver::note_startup(const protocol::StartupMessage& startup) {
  record_->user = startup.user();
  record_->database = startup.database();
}

void SessionObserver::note_server_sqlstate(std::string_view sqlstate) {
  (record_ ? record_->server_sqlstate : established_->server_sqlstate) = sqlstate;
}

void SessionObserver::audit(const Ending* refusal) {
  if (!record_ || std::exchange(record_->is_audited, true)) return;
  log_audit(*record_, refusal);
}

void SessionObserver::log_started() {
  established_ = log_session_started(*record_);
  record_.reset();
}

void SessionObserver::log_closed(const Ending& ending, std::string_view phase) {
  if (is_closed_) return;
  Traffic traffic = relayed_;
  traffic.received += record_ ? record_->received_bytes : established_->received_bytes;
  if (record_) {
    log_session_closed(*record_, traffic, ending, phase);
  } else {
    log_session_closed(*established_, traffic, ending);
  }
  is_closed_ = true;
}

}  // namespace pgveil::proxy
