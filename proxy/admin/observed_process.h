// What the admin thread sees of the process, and the orders that it may give.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "proxy/admin/process_state.h"
#include "proxy/diagnostics/worker_pulse.h"

namespace pgveil::proxy {

struct ObservedWorker {
  WorkerPulse* pulse;
  std::function<void()> wake;  // makes the worker answer the question of `pulse`
};

// What does not change while the process runs.
struct ProcessFacts {
  std::string version;
  std::string relay;  // "epoll" or "io_uring"
};

// The objects outlive the admin server, which calls the functions in its thread.
struct ObservedProcess {
  const ProcessState& state;
  ProcessFacts facts;
  std::vector<ObservedWorker> workers;
  std::function<void()> reload;  // as SIGHUP
  std::function<void()> quit;    // as SIGTERM
};

}  // namespace pgveil::proxy
