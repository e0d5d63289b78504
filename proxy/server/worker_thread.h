// A worker in a thread of its own, and its mailbox: the one way in which another thread reaches it. All
// methods are for one such thread, that which made it.
#pragma once

#include <uv.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <variant>
#include <vector>

#include "proxy/base/handle.h"
#include "proxy/net/io_uring.h"
#include "proxy/server/worker.h"

namespace pgveil::proxy {

class WorkerThread {
 public:
  // Throws std::system_error where the system has no thread or no descriptors for it.
  WorkerThread(unsigned number, SharedState& shared, std::shared_ptr<const Snapshot> snapshot,
               std::unique_ptr<Ring> ring);
  // Waits until the thread has ended.
  ~WorkerThread();
  WorkerThread(const WorkerThread&) = delete;
  WorkerThread& operator=(const WorkerThread&) = delete;

  void adopt(Arrival arrival);
  // As Worker's, for the clients that come after it.
  void replace_snapshot(std::shared_ptr<const Snapshot> snapshot);
  // Its sessions, and those that it has been given but has not begun yet.
  [[nodiscard]] std::size_t load() const;

  // Ends every session; `when_empty` is called once, in the worker's thread. No client may come after it.
  void shut_down(std::function<void()> when_empty);
  // Drops the remaining sessions and stops the thread. No other call may follow.
  void abandon();
  using Clock = std::chrono::steady_clock;
  // Waits for what abandon() began: until the sessions are dropped; and until the thread has ended, which
  // work that cannot be cancelled may delay, such as the look-up of a name. Returns false if that is not so
  // at `deadline`.
  [[nodiscard]] bool wait_until_dropped(Clock::time_point deadline);
  [[nodiscard]] bool wait_until_ended(Clock::time_point deadline);
  // How many sessions abandon() has dropped so far.
  [[nodiscard]] std::size_t abandoned() const { return abandoned_; }

 private:
  struct ShutDown {
    std::function<void()> when_empty;
  };
  struct Abandon {};
  using NewSnapshot = std::shared_ptr<const Snapshot>;
  using Letter = std::variant<Arrival, NewSnapshot, ShutDown, Abandon>;

  void start();
  void post(Letter letter);

  // In the worker's thread.
  void run();
  void deliver();
  void take(Arrival arrival) { worker_.adopt(std::move(arrival)); }
  void take(NewSnapshot snapshot) { worker_.replace_snapshot(std::move(snapshot)); }
  void take(ShutDown order) { worker_.shut_down(std::move(order.when_empty)); }
  void take(Abandon order);

  Loop loop_;
  Worker worker_;
  std::uint64_t given_ = 0;  // arrivals so far
  bool is_abandoned_ = false;

  std::mutex mutex_;             // of what follows
  std::vector<Letter> letters_;  // in the order of their coming
  Handle<uv_async_t> bell_;      // rung for every letter; without it the loop ends

  std::atomic<std::size_t> abandoned_{0};
  std::promise<void> dropped_;
  std::promise<void> ended_;
  std::future<void> when_dropped_ = dropped_.get_future();
  std::future<void> when_ended_ = ended_.get_future();
  std::thread thread_;
};

}  // namespace pgveil::proxy
