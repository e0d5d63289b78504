#include "proxy/worker_thread.h"

#include <pthread.h>

#include <csignal>
#include <string>
#include <utility>

namespace pgveil::proxy {
namespace {

// A new thread has the signal mask of the one that makes it. Signals are the main thread's: where they come
// to another, they cost a session time.
class SignalsHeldBack {
 public:
  SignalsHeldBack() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, number);
    ::pthread_sigmask(SIG_BLOCK, &signals, &before_);
  }
  ~SignalsHeldBack() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsHeldBack(const SignalsHeldBack&) = delete;
  SignalsHeldBack& operator=(const SignalsHeldBack&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

WorkerThread::WorkerThread(unsigned number, Commons& commons, std::shared_ptr<const Snapshot> snapshot,
                           std::unique_ptr<Ring> ring)
    : worker_(loop_.get(), number, commons, std::move(snapshot), std::move(ring)) {
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
  if (!thread_.joinable()) return;
  abandon();
  static_cast<void>(join());
}

void WorkerThread::adopt(Arrival arrival) {
  ++given_;
  post(std::move(arrival));
}

std::size_t WorkerThread::load() const {
  return static_cast<std::size_t>(given_ - worker_.ended());
}

void WorkerThread::shut_down(std::function<void()> when_empty) {
  post(ShutDown{std::move(when_empty)});
}

void WorkerThread::abandon() {
  post(Abandon{});
}

std::size_t WorkerThread::join() {
  thread_.join();
  return abandoned_;
}

// The bell is rung under the lock: once the worker has read its last letter, it takes the bell down.
void WorkerThread::post(Letter letter) {
  const std::lock_guard lock(mutex_);
  letters_.push_back(std::move(letter));
  uv_async_send(bell_.get());
}

void WorkerThread::run() {
  worker_.run();
}

void WorkerThread::deliver() {
  std::vector<Letter> letters;
  {
    const std::lock_guard lock(mutex_);
    letters.swap(letters_);
  }
  for (Letter& letter : letters) std::visit([this](auto& content) { take(std::move(content)); }, letter);
}

void WorkerThread::take(Abandon /*order*/) {
  abandoned_ = worker_.abandon();
  bell_.reset();
}

}  // namespace pgveil::proxy
