#include "proxy/server/worker_pool.h"

#include <algorithm>
#include <array>
#include <new>
#include <utility>

#include "tls/digest.h"

namespace pgveil::proxy {
namespace {

// Returns a random start for the session ids, so that two runs of the process do not use the same ids in a log.
SessionId random_start() {
  std::array<std::uint8_t, 2> bytes{};
  tls::fill_random(bytes);
  return (SessionId{bytes[0]} << 40U) | (SessionId{bytes[1]} << 32U);
}

// How long abandon() waits for the threads to drop their sessions, and then for the end of pending operations.
constexpr std::chrono::seconds kDropPatience{2};
constexpr std::chrono::milliseconds kEndPatience{250};

}  // namespace

WorkerPool::WorkerPool(uv_loop_t* loop, const std::shared_ptr<const Snapshot>& snapshot, unsigned count,
                       std::vector<std::unique_ptr<Ring>> rings)
    : room_(new uv_async_t),
      shared_(count, snapshot->limits.max_unauthenticated_clients, [this] { uv_async_send(room_.get()); }),
      last_id_(random_start()),
      emptied_(new uv_async_t) {
  uv_async_init(loop, emptied_.get(),
                [](uv_async_t* rung) { static_cast<WorkerPool*>(rung->data)->on_emptied(); });
  emptied_->data = this;
  uv_async_init(loop, room_.get(), [](uv_async_t* rung) { static_cast<WorkerPool*>(rung->data)->on_room(); });
  room_->data = this;
  rings.resize(count);
  for (unsigned number = 1; number <= count; ++number)
    threads_.push_back(
        std::make_unique<WorkerThread>(number, shared_, snapshot, std::move(rings[number - 1])));
}

WorkerPool::~WorkerPool() {
  static_cast<void>(abandon());
}

bool WorkerPool::assign(Descriptor client, const KernelAddress& peer, const SnapshotListener& listener,
                        const std::string& listener_address, const std::shared_ptr<ListenerUsage>& usage) {
  shared_.unauthenticated_clients.enter();
  usage->unauthenticated_clients.enter();
  try {
    threads_[least_loaded(loads())]->assign({.id = ++last_id_,
                                             .descriptor = std::move(client),
                                             .peer = peer,
                                             .listener = listener,
                                             .listener_address = listener_address,
                                             .usage = usage});
    return true;
  } catch (const std::bad_alloc&) {
    shared_.unauthenticated_clients.leave();
    usage->unauthenticated_clients.leave();
    return false;
  }
}

void WorkerPool::replace_snapshot(const std::shared_ptr<const Snapshot>& snapshot) {
  for (const auto& thread : threads_) thread->replace_snapshot(snapshot);
  shared_.unauthenticated_clients.set_max(snapshot->limits.max_unauthenticated_clients);
  on_room();
}

std::vector<std::size_t> WorkerPool::loads() const {
  std::vector<std::size_t> loads;
  loads.reserve(threads_.size());
  for (const auto& thread : threads_) loads.push_back(thread->load());
  return loads;
}

void WorkerPool::drain(std::function<void()> when_empty) {
  shared_.draining = true;
  const auto on_empty = begin_to_empty(std::move(when_empty));
  for (const auto& thread : threads_) thread->drain(on_empty);
}

void WorkerPool::shut_down(std::function<void()> when_empty) {
  shared_.draining = true;
  const auto on_empty = begin_to_empty(std::move(when_empty));
  for (const auto& thread : threads_) thread->shut_down(on_empty);
}

// Returns the function that each worker calls once it has no session. Each call of this function has a counter of its
// own, since a worker may still call the function of drain() after shut_down() has begun.
std::function<void()> WorkerPool::begin_to_empty(std::function<void()> when_empty) {
  when_empty_ = std::move(when_empty);
  not_empty_ = std::make_shared<std::atomic<std::size_t>>(threads_.size());
  return [this, counter = not_empty_] {
    if (--*counter == 0) uv_async_send(emptied_.get());
  };
}

std::vector<ObservedWorker> WorkerPool::observe() {
  std::vector<ObservedWorker> workers;
  for (const auto& thread : threads_)
    workers.push_back({.pulse = &thread->pulse(),
                       .survey = &thread->survey(),
                       .sessions = &thread->sessions(),
                       .lookups = &thread->lookups(),
                       .wake = [&thread = *thread] { thread.wake(); },
                       .terminate = [&thread = *thread](SessionId id) { thread.terminate(id); }});
  return workers;
}

std::size_t WorkerPool::abandon() {
  // All threads get the order before this function waits for one of them.
  for (const auto& thread : threads_) thread->abandon();
  const auto now = WorkerThread::Clock::now();
  std::size_t abandoned = 0;
  bool dropped = true;
  for (const auto& thread : threads_) {
    dropped = thread->wait_until_dropped(now + kDropPatience) && dropped;
    abandoned += thread->abandoned();
  }
  // The results of operations that are still pending are not needed.
  const auto deadline = WorkerThread::Clock::now() + kEndPatience;
  const bool ended = dropped && std::all_of(threads_.begin(), threads_.end(), [&](const auto& thread) {
                       return thread->wait_until_ended(deadline);
                     });
  if (ended) threads_.clear();
  return abandoned;
}

std::shared_ptr<ListenerUsage> WorkerPool::new_usage() {
  return std::make_shared<ListenerUsage>([this] { uv_async_send(room_.get()); }, threads_.size());
}

bool WorkerPool::has_room(Wakeable& waiter, const std::shared_ptr<ListenerUsage>& usage) {
  UnauthenticatedClients& of_process = shared_.unauthenticated_clients;
  UnauthenticatedClients& of_listener = usage->unauthenticated_clients;
  const bool is_process_full = of_process.is_full();
  if (!is_process_full && !of_listener.is_full()) return true;
  try {
    waiting_.push_back(&waiter);
  } catch (const std::bad_alloc&) {
    return false;  // the listener asks again soon
  }
  if (is_process_full)
    make_room(nullptr, of_process.max());
  else
    make_room(usage, of_listener.max());
  return false;
}

// Asks the workers together for a part of `max` places, beginning with another worker at each call. Asks rarely, since a
// worker looks at all its sessions. If there is no memory for it, the listener asks again soon.
void WorkerPool::make_room(const std::shared_ptr<const ListenerUsage>& usage, std::size_t max) {
  constexpr std::size_t kPart = 16;
  constexpr std::chrono::milliseconds kMinInterval{50};
  const auto now = time_now();
  if (now < room_asked_ + kMinInterval) return;
  room_asked_ = now;
  const std::size_t wanted = std::max<std::size_t>(1, max / kPart);
  const std::size_t count = threads_.size();
  const std::size_t first = first_asked_++;
  try {
    for (std::size_t i = 0; i < count; ++i)
      if (const std::size_t share = wanted / count + (i < wanted % count ? 1 : 0); share > 0)
        threads_[(first + i) % count]->make_room(usage, share);
  } catch (const std::bad_alloc&) {
    return;
  }
}

// Wakes each waiting listener once while there is room, in the order of their calls, so that a listener with many clients
// does not starve the other listeners.
void WorkerPool::on_room() {
  for (std::size_t left = waiting_.size(); left > 0 && !waiting_.empty(); --left) {
    if (shared_.unauthenticated_clients.is_full()) return;
    Wakeable& next = *waiting_.front();
    waiting_.erase(waiting_.begin());
    next.wake();
  }
}

void WorkerPool::on_emptied() {
  if (*not_empty_ == 0 && when_empty_) std::exchange(when_empty_, nullptr)();
}

std::size_t least_loaded(std::span<const std::size_t> loads) {
  return static_cast<std::size_t>(std::min_element(loads.begin(), loads.end()) - loads.begin());
}

}  // namespace pgveil::proxy
