// The result of an examination as data. Strings hold what servers have sent, unescaped: report_text.h and report_json.h
// escape it.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/diagnostics/reason.h"
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
};

// How a session with this server would begin.
struct Verdict {
  std::optional<Reason> reason;  // nullopt: the server is verified
  std::string message;
};

struct ServerReport {
  std::string upstream;  // its name in a configuration; may be empty
  std::string server;    // "db01.example.com:5432"
  std::vector<Step> steps;
  std::vector<tls::StoredCertificate> chain;  // as it was sent; not verified
  Verdict verdict;
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
