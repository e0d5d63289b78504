// The result of an examination as data. Strings hold what servers have sent, unescaped: report_text.h and report_json.h
// escape it.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/diagnostics/reason.h"
#include "proxy/doctor/responder.h"
#include "tls/stored_credentials.h"

namespace pgveil::proxy {

enum class Outcome {
  passed,
  failed,  // there is a finding
  noted,   // neither good nor bad, or not applicable
};

// Where something must be changed.
enum class Side { server, client, authority, network, pgveil };
[[nodiscard]] std::string_view name_of(Outcome outcome);
[[nodiscard]] std::string_view name_of(Side side);

// One fault: one sentence for the cause and one for the remedy, which names the setting, the file or the SQL statement.
struct Finding {
  Side side = Side::server;
  std::string cause;
  std::string remedy;
};

using StepDuration = std::chrono::microseconds;
struct Step {
  std::string name;  // one or two words: "tcp"
  Outcome outcome = Outcome::noted;
  std::string text;  // one line
  std::optional<StepDuration> duration = std::nullopt;
  std::optional<Finding> finding = std::nullopt;
  // The reason with which this fault alone would end a session, if it is known from this step.
  std::optional<Reason> reason = std::nullopt;
  // The certificate that has this fault, if it is one: its place in the chain that was sent.
  std::optional<std::size_t> certificate = std::nullopt;
};

// Returns the time since `begin`.
[[nodiscard]] StepDuration since(std::chrono::steady_clock::time_point begin);
// Returns a step that has failed.
[[nodiscard]] Step failed_step(std::string name, std::string text, Finding finding);

// How a session with this server would begin.
struct Verdict {
  std::optional<Reason> reason;  // nullopt: the server is verified
  std::string message;
};

// What one sslmode of libpq would do.
struct SslModeForecast {
  enum class Result { tls, plaintext, fails, unknown };

  std::string mode;
  Result result = Result::fails;
  bool verifies_chain = false;  // of the connection that it would make
  bool verifies_name = false;
  std::string text;  // one line
  // The attacks that the connection does not prevent. Empty: it prevents all of them, or there is no connection.
  std::string unprotected;
};
[[nodiscard]] std::string_view name_of(SslModeForecast::Result result);

// An address of the host.
struct AddressReport {
  std::string address;  // with the port
  bool is_ipv6 = false;
  std::string error;  // empty: it has answered
};

// What was agreed on, and what the server accepts. Not verified.
struct TlsReport {
  std::string version, cipher, group, alpn;
  std::vector<std::string> versions;  // that are accepted, the oldest first
  std::vector<std::string> broken_ciphers;
  std::vector<std::string> ciphers_without_forward_secrecy;
  unsigned tickets = 0;
  bool is_complete = true;  // false: the lists may lack some, because the server did not answer
};

// A login that was completed.
struct SessionReport {
  std::string method;
  std::string server_version;  // may be empty
};

struct ServerReport {
  std::string upstream;  // its name in a configuration; may be empty
  std::string server;    // "db01.example.com:5432"
  std::vector<Step> steps;
  std::vector<tls::StoredCertificate> chain;  // as it was sent; not verified
  Verdict verdict;
  std::vector<AddressReport> addresses = {};
  std::optional<Responder> responder = std::nullopt;
  std::optional<TlsReport> tls = std::nullopt;
  std::optional<SessionReport> session = std::nullopt;
  std::vector<SslModeForecast> sslmodes = {};  // those that were asked for
};

struct ListenerReport {
  std::string listener;  // its address
  std::vector<Step> steps;
};

struct Report {
  std::vector<ServerReport> servers;
  std::vector<ListenerReport> listeners;  // of a configuration
};
// Whether a step has failed.
[[nodiscard]] bool has_failed(const Report& report);

}  // namespace pgveil::proxy
