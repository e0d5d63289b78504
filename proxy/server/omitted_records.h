// Writes how many audit records were omitted (audit.stranger_rate), at most a second after the first one. It costs nothing
// while none are omitted.
#pragma once

#include <uv.h>

#include "proxy/base/deadline.h"
#include "proxy/base/handle.h"

namespace pgveil::proxy {

class OmittedRecords final : private Wakeable {
 public:
  // Uses the loop of this thread. There must be at most one such object.
  explicit OmittedRecords(uv_loop_t* loop);
  ~OmittedRecords();
  OmittedRecords(const OmittedRecords&) = delete;
  OmittedRecords& operator=(const OmittedRecords&) = delete;

 private:
  void wake() override;

  Deadline pause_;
  Handle<uv_async_t> first_omitted_;  // of the threads with sessions
};

}  // namespace pgveil::proxy
