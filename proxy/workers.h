// The workers of the process. All methods are for the main thread.
#pragma once

#include <uv.h>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "proxy/worker_thread.h"

namespace pgveil::proxy {

class Workers {
 public:
  // `loop` is the main thread's. `rings`: one for each worker, or none. Throws std::system_error where the
  // system has no threads or no descriptors for them.
  Workers(uv_loop_t* loop, std::shared_ptr<const Snapshot> snapshot, unsigned count,
          std::vector<std::unique_ptr<Ring>> rings = {});
  // Drops whatever is left.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Begins a session for an accepted, non-blocking socket, on the worker with the fewest.
  void adopt(Descriptor client, const KernelAddress& peer, const ListenerPolicy& listener,
             const std::string& listener_address);
  // The sessions of each worker.
  [[nodiscard]] std::vector<std::size_t> loads() const;

  // Ends every session; `when_empty` is called on the loop once the last one is gone. No client may come
  // after it.
  void shut_down(std::function<void()> when_empty);
  // Drops whatever is left, without a word, and ends the threads. Answers how many sessions that were.
  std::size_t abandon();

 private:
  void on_emptied();

  const std::shared_ptr<const Snapshot> snapshot_;  // of the listeners that clients come by
  Commons commons_;
  SessionId last_id_;
  std::function<void()> when_empty_;
  std::atomic<std::size_t> not_empty_{0};  // workers that are still shutting down
  Handle<uv_async_t> emptied_;             // rung by the last of them
  std::vector<std::unique_ptr<WorkerThread>> threads_;
};

// Which one of them is the least; the first where there are several.
[[nodiscard]] std::size_t least_loaded(std::span<const std::size_t> loads);

}  // namespace pgveil::proxy
