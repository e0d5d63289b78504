// Takes a sample of what sessions do, every few seconds, in the admin thread.
#pragma once

#include <uv.h>

#include <chrono>
#include <cstdint>

#include "proxy/admin/listener_totals.h"
#include "proxy/admin/observed_process.h"
#include "proxy/admin/session_history.h"
#include "proxy/base/deadline.h"

namespace pgveil::proxy {

class HistoryRecorder final : private Wakeable {
 public:
  static constexpr std::chrono::seconds kInterval{5};
  static constexpr std::chrono::minutes kLength{10};

  // The arguments must outlive the recorder.
  HistoryRecorder(uv_loop_t* loop, const ObservedProcess& process, Surveyor& surveyor);

  [[nodiscard]] const SessionHistory& history() const { return history_; }

 private:
  // Numbers that only grow, unless a listener is removed.
  struct Totals {
    std::uint64_t logins_refused = 0;
    std::uint64_t bytes_to_client = 0;
    std::uint64_t bytes_to_server = 0;
  };

  void wake() override;  // the time for the next sample has come
  void take_sample();

  const ObservedProcess& process_;
  Surveyor& surveyor_;
  SessionHistory history_{kLength / kInterval};
  Totals last_;
  Deadline next_;
};

}  // namespace pgveil::proxy
