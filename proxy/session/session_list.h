// The sessions of one worker at one moment, each with what an operator wants to know of it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/session/session_details.h"
#include "proxy/session/session_phase.h"
#include "proxy/session/session_survey.h"

namespace pgveil::proxy {

using SessionId = std::uint64_t;

// Returns for example "7f3a-2b": the run of the program, and the number of the session in it.
[[nodiscard]] std::string session_name(SessionId id);

// Returns the number of the session with this name; nullopt: it is not such a name.
[[nodiscard]] std::optional<SessionId> session_id(std::string_view name);

struct ListedSession {
  SessionId id = 0;
  SessionPhase phase = SessionPhase::negotiate;
  std::chrono::steady_clock::time_point accepted;
  std::optional<SessionActivity> activity;  // nullopt: it is not established
  std::string details;                      // SessionDetails::pack()
};

using SessionList = std::vector<ListedSession>;

}  // namespace pgveil::proxy
