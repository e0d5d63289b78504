// Sessions of one worker by user, database or address, for [admin] labels. Used in the thread of the worker only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/session/session_metrics.h"
#include "proxy/session/traffic.h"

namespace pgveil::proxy {

struct LabelValues {
  std::string user;  // of the database
  std::string database;
  std::string address;  // of the client, without its port
};

class LabelledSessions {
 public:
  struct Counts {
    std::int64_t sessions = 0;  // established now
    std::uint64_t logins = 0;   // that have become sessions
    Traffic traffic = {};       // of sessions that have ended
    Traffic running = {};       // of the others, at the last survey
  };
  // A row: the listener, by SessionMetrics::number, and the values of its labels. A label that is not asked for is empty.
  using Key = std::pair<std::uint64_t, std::array<std::string, 3>>;

  // The value of each label, once there are as many combinations as AdminConfig::label_limit.
  static constexpr const char* kOther = "(other)";

  explicit LabelledSessions(const AdminConfig& config) : labels_(config.labels), limit_(config.label_limit) {}

  // Counts a session that is established. Returns its row, which exists as long as this object.
  // A byte that is not printable UTF-8 becomes \uXXXX: Prometheus refuses a page with such a label.
  [[nodiscard]] Counts& enter(const SessionMetrics& listener, const LabelValues& values);
  static void leave(Counts& row, const Traffic& traffic);

  // Call begin_survey(), then add_running() for each session; then rows() has the traffic of all.
  void begin_survey();
  static void add_running(Counts& row, const Traffic& traffic) { row.running += traffic; }
  [[nodiscard]] const std::map<Key, Counts>& rows() const { return rows_; }

 private:
  const AdminLabels labels_;
  const std::size_t limit_;
  std::map<Key, Counts> rows_;
  std::map<std::uint64_t, std::size_t> rows_of_;  // of each listener, without the one of kOther
};

}  // namespace pgveil::proxy
