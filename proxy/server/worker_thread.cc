#include "proxy/server/worker_thread.h"

#include <pthread.h>

#include <new>
#include <string>
#include <utility>

#include "proxy/base/signals_held_back.h"

namespace pgveil::proxy {
WorkerThread::WorkerThread(unsigned number, SharedState& shared, std::shared_ptr<const Snapshot> snapshot,
                           std::unique_ptr<Ring> ring)
    : worker_(loop_.get(), number, shared, std::move(snapshot), std::move(ring)) {
  auto bell = std::make_unique<uv_async_t>();
  const int status = uv_async_init(
      loop_.get(), bell.get(), [](uv_async_t* rung) { static_cast<WorkerThread*>(rung->data)->deliver(); });
  if (status != 0) throw std::system_error(-status, std::generic_category(), "no mailbox can be made");
  bell->data = this;
  bell_.reset(bell.release());
  const SignalsHeldBack held;
  thread_ = std::thread([this] { run(); });
  ::pthread_setname_np(thread_.native_handle(), ("worker-" + std::to_string(number)).c_str());
}

WorkerThread::~WorkerThread() {
  abandon();
  thread_.join();
}

void WorkerThread::assign(AcceptedConnection accepted) {
  post(std::move(accepted));
  ++given_;
}

void WorkerThread::replace_snapshot(std::shared_ptr<const Snapshot> snapshot) {
  post(std::move(snapshot));
}

std::size_t WorkerThread::load() const {
  return static_cast<std::size_t>(given_ - worker_.ended());
}

void WorkerThread::make_room(std::shared_ptr<const ListenerUsage> usage, std::size_t count) {
  post(MakeRoom{std::move(usage), count});
}

void WorkerThread::terminate(SessionId id) {
  post(Terminate{id});
}

void WorkerThread::drain(std::function<void()> when_empty) {
  post(Drain{std::move(when_empty)});
}

void WorkerThread::shut_down(std::function<void()> when_empty) {
  post(ShutDown{std::move(when_empty)});
}

void WorkerThread::abandon() {
  if (!std::exchange(is_abandoned_, true)) post(Abandon{});
}

bool WorkerThread::wait_until_dropped(Clock::time_point deadline) {
  return when_dropped_.wait_until(deadline) == std::future_status::ready;
}

bool WorkerThread::wait_until_ended(Clock::time_point deadline) {
  return when_ended_.wait_until(deadline) == std::future_status::ready;
}

// Sends the wake-up while the mutex is locked, because the worker closes the async handle once it has read its last
// message.
void WorkerThread::post(Message message) {
  const std::lock_guard lock(mutex_);
  messages_.push_back(std::move(message));
  uv_async_send(bell_.get());
}

void WorkerThread::run() {
  worker_.run();
  ended_.set_value();
}

void WorkerThread::wake() {
  const std::lock_guard lock(mutex_);
  uv_async_send(bell_.get());
}

// If there is no memory for an answer, the thread that has asked gets the last one.
void WorkerThread::answer_questions() {
  pulse_.answer();
  try {
    if (survey_.is_asked()) survey_.answer(worker_.survey());
    if (list_.is_asked()) list_.answer(worker_.list());
  } catch (const std::bad_alloc&) {
    return;
  }
}

void WorkerThread::deliver() {
  answer_questions();
  std::vector<Message> messages;
  {
    const std::lock_guard lock(mutex_);
    messages.swap(messages_);
  }
  for (Message& message : messages) std::visit([this](auto& content) { take(std::move(content)); }, message);
}

void WorkerThread::take(Abandon /*order*/) {
  abandoned_ = worker_.abandon();
  dropped_.set_value();
  bell_.reset();
}

}  // namespace pgveil::proxy
