// What the process says of itself at the admin address. The main thread writes it, the admin thread reads it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "proxy/session/listener_usage.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {

class ProcessState {
 public:
  struct Listener {
    std::string address;   // with the port that the system chose for port 0
    std::string upstream;  // its name
    std::shared_ptr<const ListenerUsage> usage;
  };
  struct Values {
    std::shared_ptr<const Snapshot> snapshot;
    std::vector<Listener> listeners;  // in the order of the configuration; empty: none is open
    bool is_draining = false;
    bool last_reload_failed = false;
    std::uint64_t reloads = 0;  // that succeeded, since the start
    std::uint64_t failed_reloads = 0;
    std::chrono::system_clock::time_point last_reload;  // that succeeded, or the start
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
  void note_reload(bool has_succeeded) {
    const std::lock_guard lock(mutex_);
    values_.last_reload_failed = !has_succeeded;
    ++(has_succeeded ? values_.reloads : values_.failed_reloads);
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
