// What the stages of a session tell about it to the log and the audit. They only write: no decision depends on what
// observers know.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/startup.h"
#include "proxy/session/session_record.h"

namespace pgveil::proxy {

class SessionObserver {
 public:
  // The session begins now.
  SessionObserver() : record_(std::make_unique<Record>()) {}

  // Until log_started().
  struct Client {
    std::string session;  // unique in the process: "7f3a-2b"
    unsigned worker;      // that it runs on, from 1 on
    std::string address;
    std::string listener;  // address
    std::string upstream;  // name
  };
  void note_client(Client client);
  void note_client_tls(std::shared_ptr<const tls::Established> tls) { record_->client_tls = std::move(tls); }
  void note_refused_certificate(std::shared_ptr<const tls::PeerCertificate> certificate);
  void note_identity(std::string_view identity) { record_->identity = identity; }
  // What the client asks for.
  void note_request(const protocol::StartupMessage& startup);
  void note_database(std::string_view database) { record_->database = database; }
  void note_decision(const Decision& decision) { record_->take(decision); }
  // As whom the server reads the client.
  void note_startup(const protocol::StartupMessage& startup);
  void note_preconnected(bool is_preconnected) { record_->prewarmed = is_preconnected; }
  void note_server(std::string address) { record_->server = std::move(address); }
  void note_server_tls(std::shared_ptr<const tls::Established> tls) { record_->server_tls = std::move(tls); }
  void note_earlier_attempts(std::string_view attempts) { record_->earlier_attempts = attempts; }
  void note_server_method(std::string_view method) { record_->server_method = method; }
  void note_received(std::size_t bytes) { record_->received_bytes += bytes; }

  // With which SQLSTATE the server has refused the login or ended the session.
  void note_server_sqlstate(std::string_view sqlstate);
  // What the relay has moved so far.
  void note_relayed(const Traffic& traffic) { relayed_ = traffic; }

  // Writes the audit record, once a session: when it is known how its login went. nullptr: it has succeeded.
  void audit(const Ending* refusal);
  // Writes the line of a session that begins. From here on only what its last line says is kept.
  void log_started();
  // Writes the last line. `phase`: in which the session ends.
  void log_closed(const Ending& ending, std::string_view phase) const;

 private:
  std::unique_ptr<Record> record_;                // until log_started()
  std::optional<EstablishedRecord> established_;  // from then on
  Traffic relayed_;
};

}  // namespace pgveil::proxy
