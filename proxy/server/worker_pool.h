// The workers of the process. All methods are for the main thread.
#pragma once

#include <uv.h>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "proxy/server/worker_thread.h"

namespace pgveil::proxy {

class Workers {
 public:
  // `loop` is the main thread's. `rings`: one for each worker, or none. Throws std::system_error where the
  // system has no threads or no descriptors for them.
  Workers(uv_loop_t* loop, const std::shared_ptr<const Snapshot>& snapshot, unsigned count,
          std::vector<std::unique_ptr<Ring>> rings = {});
  // Drops whatever is left.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Begins a session for an accepted, non-blocking socket, on the worker with the fewest. Returns false if
  // there is no memory for it.
  bool adopt(Descriptor client, const KernelAddress& peer, const SnapshotListener& listener,
             const std::string& listener_address);
  // Of all workers; see there. A client of adopt() brings the snapshot of its listener.
  void replace_snapshot(const std::shared_ptr<const Snapshot>& snapshot);
  // The sessions of each worker.
  [[nodiscard]] std::vector<std::size_t> loads() const;

  // Ends every session; `when_empty` is called on the loop once the last one is gone. No client may come
  // after it.
  void shut_down(std::function<void()> when_empty);
  // Drops whatever is left, without a word, and ends the threads, for which it waits a moment. Returns how
  // many sessions that were.
  std::size_t abandon();
  // Whether all threads have ended. If not after abandon(), something is pending that nobody can cancel: the
  // process must end without destructors.
  [[nodiscard]] bool have_ended() const { return threads_.empty(); }

  // Whether one more client may be accepted (limits.max_unauthenticated_clients). If not, `waiter` is woken
  // when one may, unless it is forgotten before.
  [[nodiscard]] bool has_room(Wakeable& waiter);
  void forget(const Wakeable& waiter) { std::erase(waiting_, &waiter); }

 private:
  void on_emptied();
  void on_room();

  Handle<uv_async_t> room_;         // rung by a worker when a client may be accepted again
  std::vector<Wakeable*> waiting_;  // for that, in the order of their coming
  SharedState shared_;
  SessionId last_id_;
  std::function<void()> when_empty_;
  std::atomic<std::size_t> not_empty_{0};  // workers that are still shutting down
  Handle<uv_async_t> emptied_;             // rung by the last of them
  std::vector<std::unique_ptr<WorkerThread>> threads_;
};

// Which one of them is the least; the first where there are several.
[[nodiscard]] std::size_t least_loaded(std::span<const std::size_t> loads);

}  // namespace pgveil::proxy
