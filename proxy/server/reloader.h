// Loads the configuration again, while sessions and listeners go on.
#pragma once

#include <uv.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tl/expected.hpp>

#include "proxy/base/deadline.h"
#include "proxy/base/handle.h"
#include "proxy/config/config.h"
#include "proxy/config/config_report.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {

// Reads the configuration from its sources: file, command line and environment. May be called from any thread, one call
// at a time. Must not write to standard output or standard error.
using ConfigSource = std::function<tl::expected<ParsedConfig, ConfigReport>()>;

// The result of a reload.
struct Reload {
  std::string trigger;  // as in the log: "SIGHUP"
  std::chrono::milliseconds duration{0};
  tl::expected<std::shared_ptr<const Snapshot>, ConfigReport> loaded;
  std::set<std::string> files;  // all that was read, or that would have been read without the error
};

// Whether a reload is carried out in any case, or only if a file has another content than at the last one.
enum class ReloadIf { always, changed };

class Reloader final : private Wakeable {
 public:
  // `on_loaded` is called on `loop` after each reload that was carried out. `files`: those of the current snapshot.
  Reloader(uv_loop_t* loop, ConfigSource source, FileDigests files, std::function<void(Reload)> on_loaded);
  Reloader(const Reloader&) = delete;
  Reloader& operator=(const Reloader&) = delete;
  // is_busy() must be false.
  ~Reloader() = default;

  // Begins to load: in a thread of libuv's pool, with prepare(). If that fails, tries again for a short time before
  // on_loaded is called, since files may just be written: a certificate, and then its key. If a reload is running,
  // another one follows it, also if a file changed while it was read.
  void request(const std::string& trigger, ReloadIf when);
  // Drops a request of ReloadIf::changed that waits for the end of a reload, since nobody watches the files any more. A file
  // that has changed while it was read is read again all the same.
  void forget_changes();
  // on_loaded is not called any more.
  void stop();
  // Whether on_loaded will be called again because somebody has asked for it, after the call that is going on. A change of a
  // file may turn out to be none, and files may change again and again while they are read.
  [[nodiscard]] bool is_another_requested() const {
    return next_ && next_->when == ReloadIf::always && !must_read_again_;
  }
  // Whether a thread is loading. If so, the process must end without destructors.
  [[nodiscard]] bool is_busy() const { return is_busy_; }

 private:
  struct Request {
    std::string trigger;
    ReloadIf when = ReloadIf::always;
  };

  void wake() override;  // after the pause between two attempts
  void begin();
  void load();  // runs in a thread of the pool
  [[nodiscard]] tl::expected<std::shared_ptr<const Snapshot>, ConfigReport> load_snapshot();
  void on_done();
  void finish(tl::expected<std::shared_ptr<const Snapshot>, ConfigReport> loaded);

  uv_loop_t* loop_;
  const ConfigSource source_;
  std::function<void(Reload)> on_loaded_;
  Deadline pause_;
  uv_work_t work_{};
  bool is_busy_ = false;
  bool is_running_ = false;  // an attempt is running, or another one will follow
  Request request_;          // of this reload
  int attempts_ = 0;         // of this reload
  std::optional<Request> next_;
  bool must_read_again_ = false;  // nobody has asked for next_: files have changed while they were read
  std::chrono::steady_clock::time_point begin_;

  // A thread of the pool uses these while is_busy_ is true.
  FileDigests files_;                // of the last reload that was carried out
  std::set<std::string> read_;       // what this attempt has read, or would have read
  bool changed_while_read_ = false;  // in this attempt
  std::optional<tl::expected<std::shared_ptr<const Snapshot>, ConfigReport>>
      loaded_;  // nullopt: nothing has changed
};

}  // namespace pgveil::proxy
