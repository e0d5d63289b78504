// Collects the data of a session for the log, the audit and the metrics. The stages only write to it: no decision depends on the
// collected data.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/startup.h"
#include "proxy/session/labelled_sessions.h"
#include "proxy/session/session_metrics.h"
#include "proxy/session/session_record.h"

namespace pgveil::proxy {

class SessionObserver {
 public:
  // The session's duration counts from here.
  SessionObserver() : record_(std::make_unique<Record>()) {}
  // Counts the audit record at the end of an established session as lost, if it was not written.
  ~SessionObserver();
  SessionObserver(const SessionObserver&) = delete;
  SessionObserver& operator=(const SessionObserver&) = delete;

  // Also counts the session from here on. `metrics` must outlive the observer.
  void count_in(SessionMetrics& metrics) { metrics_ = &metrics; }

  // The functions up to note_received() must not be called after establish().
  struct Client {
    std::string session;  // unique in the process: "7f3a-2b"
    unsigned worker;      // number of its worker, from 1 on
    std::string address;
    std::string listener;  // address
    std::string upstream;  // name
  };
  void note_client(Client client);
  [[nodiscard]] const std::string& session() const { return record_->session; }
  void note_upstream(std::string name) { record_->upstream = std::move(name); }
  // Stores the addresses that a PROXY header and its connection have.
  void note_proxied(std::string client, std::string proxy);
  void note_client_tls(std::shared_ptr<const tls::Established> tls);
  // Count a handshake that failed, or that the peer rejected afterwards, as TLS 1.3 permits.
  void note_failed_client_handshake(const tls::FailureReport& failure);
  void note_failed_server_handshake(const tls::FailureReport& failure);
  void note_refused_certificate(std::shared_ptr<const tls::PeerCertificate> certificate);
  void note_identity(std::string_view identity) { record_->identity = identity; }
  // Stores the user and the database that the client asks for.
  void note_request(const protocol::StartupMessage& startup);
  void note_database(std::string_view database) { record_->database = database; }
  void note_decision(const Decision& decision) { record_->take(decision); }
  // Stores the user and the database that are sent to the server.
  void note_startup(const protocol::StartupMessage& startup);
  void note_preconnected(bool is_preconnected) { record_->preconnected = is_preconnected; }
  void note_server(std::string address) { record_->server = std::move(address); }
  // Null: this server has refused, and another one is tried.
  void note_server_tls(std::shared_ptr<const tls::Established> tls);
  void note_earlier_attempts(std::string_view attempts) { record_->earlier_attempts = attempts; }
  void note_server_method(std::string_view method) { record_->server_method = method; }
  void note_received(std::size_t bytes) { record_->received_bytes += bytes; }

  // The time from which the session's duration counts.
  [[nodiscard]] std::chrono::steady_clock::time_point accepted() const {
    return established_ ? established_->accepted : record_->accepted;
  }

  // Stores the SQLSTATE with which the server has refused the login or ended the session.
  void note_server_sqlstate(std::string_view sqlstate);
  // Stores the number of bytes that the relay has forwarded so far.
  void note_relayed(const Traffic& traffic) { relayed_ = traffic; }

  // Counts the end of the session, at the first call. log_closed() calls it; it is for an end without memory for a log line.
  // Returns the session's bytes and duration so far.
  Totals count_end(const Ending& ending);
  // Writes the audit record of a login that has failed; later calls do nothing.
  void audit(const Ending& refusal) { audit(&refusal); }
  // Counts the established session by labels, too. `table` must outlive the observer. Call it before establish().
  void count_by_labels(LabelledSessions& table, std::string address);
  // Returns the row that it is counted in; null: there is none.
  [[nodiscard]] LabelledSessions::Counts* label_row() const { return label_row_; }
  // Writes the audit record of a login that has succeeded, and the first log line of the session. From here on only the data
  // of its last line is kept. If it throws, log_closed() writes the record of the end all the same, unless there is no record
  // of the login.
  // `keeps_details`: for details() of the established session.
  void establish(bool keeps_details = false);
  // Returns SessionDetails::pack() of the session; empty: they were not kept.
  [[nodiscard]] std::string details() const;
  // Writes the last log line and, if the session was established, its last audit record; later calls do nothing, as for
  // an end that ran out of memory after its log line.
  // `phase`: the phase in which the session ends.
  void log_closed(const Ending& ending, std::string_view phase);

 private:
  void audit(const Ending* refusal);
  void count_login(const Ending* refusal);

  SessionMetrics* metrics_ = nullptr;  // null: the session is not counted
  LabelledSessions::Counts* label_row_ = nullptr;
  std::unique_ptr<Record> record_;                // until establish()
  std::optional<EstablishedRecord> established_;  // from then on
  Traffic relayed_;
  bool is_counted_ = false;  // the end of the session
  bool is_closed_ = false;   // the last log line is written
};

}  // namespace pgveil::proxy
