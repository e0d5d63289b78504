#include "proxy/session/session_observer.h"

#include <utility>

#include "proxy/diagnostics/audit.h"
#include "proxy/session/session_details.h"

namespace pgveil::proxy {

SessionObserver::~SessionObserver() {
  if (established_ && !established_->audit.empty()) count_lost_audit_record();
}

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

void SessionObserver::note_client_tls(std::shared_ptr<const tls::Established> tls) {
  if (metrics_ != nullptr && tls) metrics_->client_handshakes.add(*tls);
  record_->client_tls = std::move(tls);
}

void SessionObserver::note_server_tls(std::shared_ptr<const tls::Established> tls) {
  if (metrics_ != nullptr && tls) metrics_->upstream_handshakes.add(*tls);
  record_->server_tls = std::move(tls);
}

void SessionObserver::note_failed_client_handshake(const tls::FailureReport& failure) {
  if (metrics_ != nullptr) metrics_->failed_client_handshakes.add(failure);
}

void SessionObserver::note_failed_server_handshake(const tls::FailureReport& failure) {
  if (metrics_ != nullptr) metrics_->failed_upstream_handshakes.add(failure);
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
  (established_ ? established_->server_sqlstate : record_->server_sqlstate) = sqlstate;
}

void SessionObserver::audit(const Ending* refusal) {
  if (!record_ || std::exchange(record_->is_audited, true)) return;
  count_login(refusal);
  log_audit(*record_, refusal);
}

void SessionObserver::count_login(const Ending* refusal) {
  if (metrics_ == nullptr) return;
  auto& logins = record_->method ? metrics_->of(*record_->method) : metrics_->logins_without_rule;
  (refusal == nullptr ? logins.accepted : logins.refused).add();
}

// The record of the end needs no memory that is allocated after the record of the login, except for its own text.
void SessionObserver::establish(bool keeps_details) {
  EstablishedRecord kept = keep(*record_);
  if (keeps_details) kept.details = details_of(*record_).pack();
  established_.emplace(std::move(kept));
  audit(nullptr);
  log_session_started(*record_, *established_);
  record_.reset();
}

void SessionObserver::count_by_labels(LabelledSessions& table, std::string address) {
  label_row_ = &table.enter(
      *metrics_, {.user = record_->user, .database = record_->database, .address = std::move(address)});
}

std::string SessionObserver::details() const {
  return established_ ? established_->details : details_of(*record_).pack();
}

void SessionObserver::log_closed(const Ending& ending, std::string_view phase) {
  if (is_closed_) return;
  const Totals totals = count_end(ending);
  if (established_) {
    log_audit_end(*established_, totals, ending);
    log_session_closed(*established_, totals, ending);
  } else {
    log_session_closed(*record_, totals, ending, phase);
  }
  is_closed_ = true;
}

Totals SessionObserver::count_end(const Ending& ending) {
  Totals totals{.traffic = relayed_, .duration = std::chrono::steady_clock::now() - accepted()};
  totals.traffic.to_server.bytes += established_ ? established_->received_bytes : record_->received_bytes;
  if (metrics_ == nullptr || std::exchange(is_counted_, true)) return totals;
  metrics_->of(ending.reason).add();
  metrics_->session.add(totals.duration);
  if (!established_) totals.traffic.client_leg = totals.traffic.server_leg = {};  // it was not established
  metrics_->traffic.add(totals.traffic);
  if (label_row_ != nullptr) LabelledSessions::leave(*label_row_, totals.traffic);
  return totals;
}

}  // namespace pgveil::proxy
