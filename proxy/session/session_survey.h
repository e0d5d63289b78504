// What the established sessions of one worker do at one moment, by listener.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/session/labelled_sessions.h"
#include "proxy/session/session_metrics.h"
#include "proxy/session/traffic.h"

namespace pgveil::proxy {

enum class SessionState : std::uint8_t {
  idle,            // outside a transaction, and waits for its client
  in_transaction,  // inside a transaction, and waits for its client
  active,          // all others: a message is on its way, or not answered yet
};
inline constexpr std::size_t kSessionStates = static_cast<std::size_t>(SessionState::active) + 1;
[[nodiscard]] std::string_view name_of(SessionState state);

// An established session.
struct SessionActivity {
  SessionState state = SessionState::idle;
  Traffic traffic = {};
};

class SessionSurvey {
 public:
  struct Entry {
    std::uint64_t metrics = 0;  // SessionMetrics::number, of the listener in the worker
    std::array<std::uint64_t, kSessionStates> sessions{};
    Traffic traffic = {};  // of these sessions, and of all sessions that have ended before
  };
  // The same for the sessions of one combination of labels; see LabelledSessions.
  struct LabelledEntry {
    std::uint64_t metrics = 0;
    std::array<std::string, 3> values = {};  // user, database, address
    std::int64_t sessions = 0;
    std::uint64_t logins = 0;
    Traffic traffic = {};
  };

  // Called in the thread of the worker. `sessions`: all connections of clients, established or not.
  void set_sessions(std::size_t sessions) { sessions_ = sessions; }
  [[nodiscard]] std::size_t sessions() const { return sessions_; }
  // Called in the thread of the worker, after all sessions have added what they have passed on.
  void take(const LabelledSessions& table);
  [[nodiscard]] const std::vector<LabelledEntry>& labelled() const { return labelled_; }

  // Returns the entry of a listener without established sessions.
  [[nodiscard]] static Entry of_ended(const SessionMetrics& metrics);
  // Called in the thread of the worker.
  void add(const SessionMetrics& metrics, const SessionActivity& activity);
  // Returns what was added for the listener; null: it has no established session in this worker.
  [[nodiscard]] const Entry* find(const SessionMetrics& metrics) const {
    const auto found = std::ranges::find(entries_, metrics.number, &Entry::metrics);
    return found == entries_.end() ? nullptr : &*found;
  }

 private:
  std::vector<Entry> entries_;
  std::vector<LabelledEntry> labelled_;
  std::size_t sessions_ = 0;
};

}  // namespace pgveil::proxy
