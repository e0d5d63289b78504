// What the process says of itself at the admin address. The main thread writes it, the admin thread reads it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/config/config_error.h"
#include "proxy/session/listener_usage.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {

class ProcessState {
 public:
  struct Listener {
    std::string address;   // with the port that the system chose for port 0
    std::string upstream;  // its name
    std::shared_ptr<const ListenerUsage> usage;
    ListenerLimits limits;
  };
  struct Values {
    std::shared_ptr<const Snapshot> snapshot;
    std::vector<Listener> listeners;  // in the order of the configuration; empty: none is open
    bool is_draining = false;
    bool last_reload_failed = false;
    std::uint64_t reloads = 0;  // that succeeded, since the start
    std::uint64_t failed_reloads = 0;
    std::chrono::system_clock::time_point last_reload;  // that succeeded, or the start
    // Of the last reload, if it failed.
    std::optional<std::chrono::system_clock::time_point> last_failure;
    std::shared_ptr<const ConfigErrors> mistakes;  // null: the reload had no memory for them
  };

  [[nodiscard]] Values values() const {
    const std::lock_guard lock(mutex_);
    return values_;
  }

  [[nodiscard]] std::chrono::milliseconds liveness_limit() const {
    const std::lock_guard lock(mutex_);
    return values_.snapshot->admin.liveness_limit;
  }

  // The configuration that is used from here on, at the start or after a reload.
  void use(std::shared_ptr<const Snapshot> snapshot, std::vector<Listener> listeners) {
    const std::lock_guard lock(mutex_);
    values_.snapshot = std::move(snapshot);
    values_.listeners = std::move(listeners);
    values_.last_reload = std::chrono::system_clock::now();
  }
  void note_reload() {
    const std::lock_guard lock(mutex_);
    values_.last_reload_failed = false;
    ++values_.reloads;
    values_.last_failure.reset();
    values_.mistakes.reset();
  }
  // `mistakes`: what was wrong; may be null. Needs no memory.
  void note_failed_reload(std::shared_ptr<const ConfigErrors> mistakes) {
    const std::lock_guard lock(mutex_);
    values_.last_reload_failed = true;
    ++values_.failed_reloads;
    values_.last_failure = std::chrono::system_clock::now();
    values_.mistakes = std::move(mistakes);
  }
  void set_draining() {
    const std::lock_guard lock(mutex_);
    values_.is_draining = true;
  }

 private:
  mutable std::mutex mutex_;
  Values values_;
};

}  // namespace pgveil::proxy
