// What the admin thread sees of the process, and the orders that it may give.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "proxy/admin/process_state.h"
#include "proxy/base/resolver.h"
#include "proxy/diagnostics/worker_pulse.h"
#include "proxy/session/answer_box.h"
#include "proxy/session/session_list.h"
#include "proxy/session/session_survey.h"
#include "proxy/session/shared_state.h"

namespace pgveil::proxy {

struct ObservedWorker {
  WorkerPulse* pulse;
  AnswerBox<SessionSurvey>* survey;
  AnswerBox<SessionList>* sessions;
  const Resolver::Counts* lookups;
  std::function<void()> wake;                // makes the worker answer the questions of all three
  std::function<void(SessionId)> terminate;  // ends the session with this number, if it is one of this worker
};

// What does not change while the process runs.
struct ProcessFacts {
  std::string version;
  std::string relay;           // "epoll" or "io_uring"
  AdminLabels labels = {};     // that sessions are counted by
  bool admin_is_local = true;  // the admin address is loopback or a Unix socket
  std::chrono::system_clock::time_point started = std::chrono::system_clock::now();
};

// The objects outlive the admin server, which calls the functions in its thread.
struct ObservedProcess {
  const ProcessState& state;
  const SharedState& shared;
  AdminDatabase& admin_database;
  ProcessFacts facts;
  std::vector<ObservedWorker> workers;
  // Orders. `trigger`: what gives it, for the log; a literal.
  std::function<void(const char* trigger)> reload;  // as SIGHUP
  std::function<void(const char* trigger)> quit;    // as SIGTERM
};

}  // namespace pgveil::proxy
