// Asks for a reload when a file of the configuration changes.
#pragma once

#include <uv.h>

#include <memory>
#include <set>
#include <string>

#include "proxy/base/deadline.h"
#include "proxy/base/file_watch.h"
#include "proxy/base/handle.h"
#include "proxy/server/reloader.h"

namespace pgveil::proxy {

class ReloadWatch final : private Wakeable {
 public:
  // `reloader` must outlive the watch.
  ReloadWatch(uv_loop_t* loop, Reloader& reloader)
      : loop_(loop), reloader_(reloader), collect_(loop, *this) {}

  // Watches these files, and no longer others. Logs what cannot be watched. A file that has changed since it was read
  // leads to a reload, too.
  void watch(std::set<std::string> files);
  void stop();

 private:
  void wake() override;  // changes have been collected for a short time
  void renew();

  uv_loop_t* loop_;
  Reloader& reloader_;
  Deadline collect_;
  std::set<std::string> files_;
  std::unique_ptr<FileWatch> watch_;
  std::string failure_;  // in the log already
};

}  // namespace pgveil::proxy
