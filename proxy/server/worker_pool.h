// The workers of the process. All functions must be called in the main thread.
#pragma once

#include <uv.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "proxy/admin/observed_process.h"
#include "proxy/server/worker_thread.h"

namespace pgveil::proxy {

class WorkerPool {
 public:
  // `loop` is that of the main thread. `rings`: one for each worker, or none. Throws std::system_error if the
  // system has no threads or no descriptors for the workers.
  WorkerPool(uv_loop_t* loop, const std::shared_ptr<const Snapshot>& snapshot, unsigned count,
             std::vector<std::unique_ptr<Ring>> rings = {});
  // Drops the remaining sessions.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Returns the object that counts the clients of a new listener.
  [[nodiscard]] std::shared_ptr<ListenerUsage> new_usage();
  // Begins a session for an accepted, non-blocking socket on the worker with the fewest sessions. `usage` is that of the
  // listener. Returns false if there is no memory for it.
  bool assign(Descriptor client, const KernelAddress& peer, const SnapshotListener& listener,
              const std::string& listener_address, const std::shared_ptr<ListenerUsage>& usage);
  // Calls Worker::replace_snapshot() of all workers, and uses the new limits.max_unauthenticated_clients. A client of
  // assign() has the snapshot of its listener.
  void replace_snapshot(const std::shared_ptr<const Snapshot>& snapshot);
  // What all sessions share.
  [[nodiscard]] const SharedState& shared() const { return shared_; }
  [[nodiscard]] AdminDatabase& admin_database() { return shared_.admin_database; }
  // What the admin thread may see of the workers, before abandon().
  [[nodiscard]] std::vector<ObservedWorker> observe();
  // The number of sessions of each worker.
  [[nodiscard]] std::vector<std::size_t> loads() const;

  // Ends each session as soon as it is idle outside a transaction, and refuses clients that want to log in.
  // `when_empty` is called on the loop once each worker was without sessions. CancelRequests are still forwarded.
  void drain(std::function<void()> when_empty);
  // Ends every session, also after drain(). `when_empty` is called on the loop once the last one is gone. assign() must not be
  // called after it.
  void shut_down(std::function<void()> when_empty);
  // Drops the remaining sessions without a message, ends the threads, and waits a limited time for their end.
  // Returns the number of dropped sessions.
  std::size_t abandon();
  // Whether all threads have ended. If not, after abandon(), an operation is pending that cannot be
  // cancelled, and the process must end without destructors.
  [[nodiscard]] bool have_ended() const { return threads_.empty(); }

  // Returns whether one more client of a listener may be accepted (max_unauthenticated_clients of the process and of the
  // listener). If not, `waiter` is woken when one may be accepted, unless forget() is called before. Then clients are also asked
  // for, as in Worker::make_room(), whose places newer ones may have.
  [[nodiscard]] bool has_room(Wakeable& waiter, const std::shared_ptr<ListenerUsage>& usage);
  void forget(const Wakeable& waiter) { std::erase(waiting_, &waiter); }

 private:
  [[nodiscard]] std::function<void()> begin_to_empty(std::function<void()> when_empty);
  void on_emptied();
  void on_room();
  void make_room(const std::shared_ptr<const ListenerUsage>& usage, std::size_t max);

  Handle<uv_async_t> room_;                  // a worker sends it when a client may be accepted again
  std::vector<Wakeable*> waiting_;           // listeners that wait for this, in the order of their calls
  std::chrono::milliseconds room_asked_{0};  // the time_now() of the last order to make room
  std::size_t first_asked_ = 0;              // the worker that gets the next order first
  SharedState shared_;
  SessionId last_id_;
  std::function<void()> when_empty_;
  std::shared_ptr<std::atomic<std::size_t>>
      not_empty_;               // of the last drain() or shut_down(): workers with sessions
  Handle<uv_async_t> emptied_;  // the last of them sends it
  std::vector<std::unique_ptr<WorkerThread>> threads_;
};

// Returns the index of the smallest load; the first one if there are several.
[[nodiscard]] std::size_t least_loaded(std::span<const std::size_t> loads);

}  // namespace pgveil::proxy
