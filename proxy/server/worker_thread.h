// A worker in its own thread, and its mailbox, through which another thread reaches it. The public functions must be
// called in the thread that created the object.
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
#include "proxy/diagnostics/worker_pulse.h"
#include "proxy/net/io_uring.h"
#include "proxy/server/worker.h"
#include "proxy/session/answer_box.h"

namespace pgveil::proxy {

class WorkerThread {
 public:
  // Throws std::system_error if the system has no thread or no descriptors for it.
  WorkerThread(unsigned number, SharedState& shared, std::shared_ptr<const Snapshot> snapshot,
               std::unique_ptr<Ring> ring);
  // Waits until the thread has ended.
  ~WorkerThread();
  WorkerThread(const WorkerThread&) = delete;
  WorkerThread& operator=(const WorkerThread&) = delete;

  void assign(AcceptedConnection accepted);
  // Calls Worker::replace_snapshot(), before the clients of later calls of assign().
  void replace_snapshot(std::shared_ptr<const Snapshot> snapshot);
  // Calls Worker::make_room().
  void make_room(std::shared_ptr<const ListenerUsage> usage, std::size_t count);
  // The number of its sessions, including clients that were assigned to it but have no session yet.
  [[nodiscard]] std::size_t load() const;

  // Tells whether the loop of the worker turns. It may be asked by another thread.
  [[nodiscard]] WorkerPulse& pulse() { return pulse_; }
  [[nodiscard]] const Resolver::Counts& lookups() const { return worker_.lookups(); }
  // A survey of its sessions, for another thread that has asked for it.
  [[nodiscard]] AnswerBox<SessionSurvey>& survey() { return survey_; }
  // A list of its sessions, for another thread that has asked for it.
  [[nodiscard]] AnswerBox<SessionList>& sessions() { return list_; }
  // Calls Worker::terminate(). May be called by any thread before abandon().
  void terminate(SessionId id);
  // Makes the worker answer the questions of its pulse, for a survey and for a list. May be called by any thread before abandon().
  void wake();

  // Calls Worker::drain(). `when_empty` is called in the worker's thread.
  void drain(std::function<void()> when_empty);
  // Ends every session. `when_empty` is called once, in the worker's thread. assign() must not be called after it.
  void shut_down(std::function<void()> when_empty);
  // Begins to drop the remaining sessions and to stop the thread. After it, only the functions below may be called.
  void abandon();
  using Clock = std::chrono::steady_clock;
  // Wait after abandon(): the first one until the sessions are dropped, the second one until the thread has
  // ended. Operations that cannot be cancelled, for example the look-up of a name, may delay the end of the
  // thread. Return false if `deadline` has passed before.
  [[nodiscard]] bool wait_until_dropped(Clock::time_point deadline);
  [[nodiscard]] bool wait_until_ended(Clock::time_point deadline);
  // The number of sessions that abandon() has dropped so far.
  [[nodiscard]] std::size_t abandoned() const { return abandoned_; }

 private:
  struct Drain {
    std::function<void()> when_empty;
  };
  struct ShutDown {
    std::function<void()> when_empty;
  };
  struct Abandon {};
  struct Terminate {
    SessionId id;
  };
  struct MakeRoom {
    std::shared_ptr<const ListenerUsage> usage;
    std::size_t count;
  };
  using NewSnapshot = std::shared_ptr<const Snapshot>;
  using Message =
      std::variant<AcceptedConnection, NewSnapshot, MakeRoom, Terminate, Drain, ShutDown, Abandon>;

  void start();
  void post(Message message);

  // These functions run in the worker's thread.
  void run();
  void deliver();
  void answer_questions();
  void take(AcceptedConnection accepted) { worker_.start_session(std::move(accepted)); }
  void take(NewSnapshot snapshot) { worker_.replace_snapshot(std::move(snapshot)); }
  void take(const MakeRoom& order) { worker_.make_room(order.usage.get(), order.count); }
  void take(Terminate order) { worker_.terminate(order.id); }
  void take(Drain order) { worker_.drain(std::move(order.when_empty)); }
  void take(ShutDown order) { worker_.shut_down(std::move(order.when_empty)); }
  void take(Abandon order);

  Loop loop_;
  Worker worker_;
  WorkerPulse pulse_;
  AnswerBox<SessionSurvey> survey_;
  AnswerBox<SessionList> list_;
  std::uint64_t given_ = 0;  // clients assigned so far
  bool is_abandoned_ = false;

  std::mutex mutex_;               // protects the next two fields
  std::vector<Message> messages_;  // in the order in which they were posted
  Handle<uv_async_t> bell_;        // sent after each message; the loop ends once it is closed

  std::atomic<std::size_t> abandoned_{0};
  std::promise<void> dropped_;
  std::promise<void> ended_;
  std::future<void> when_dropped_ = dropped_.get_future();
  std::future<void> when_ended_ = ended_.get_future();
  std::thread thread_;
};

}  // namespace pgveil::proxy
