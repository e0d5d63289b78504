// What the admin thread sees of the process, and the orders that it may give.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "proxy/admin/process_state.h"
#include "proxy/diagnostics/worker_pulse.h"
#include "proxy/session/shared_state.h"
#include "proxy/session/survey_box.h"

namespace pgveil::proxy {

struct ObservedWorker {
  WorkerPulse* pulse;
  SurveyBox* survey;
  std::function<void()> wake;  // makes the worker answer the questions of both
};

// What does not change while the process runs.
struct ProcessFacts {
  std::string version;
  std::string relay;  // "epoll" or "io_uring"
  std::chrono::system_clock::time_point started = std::chrono::system_clock::now();
};

// The objects outlive the admin server, which calls the functions in its thread.
struct ObservedProcess {
  const ProcessState& state;
  const SharedState& shared;
  ProcessFacts facts;
  std::vector<ObservedWorker> workers;
  std::function<void()> reload;  // as SIGHUP
  std::function<void()> quit;    // as SIGTERM
};

}  // namespace pgveil::proxy
