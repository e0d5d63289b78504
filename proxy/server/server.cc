#include "proxy/server/server.h"

#include <sys/resource.h>
#include <uv.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "proxy/base/child_process.h"
#include "proxy/base/cpu_quota.h"
#include "proxy/base/deadline.h"
#include "proxy/base/exit_code.h"
#include "proxy/base/handle.h"
#include "proxy/base/signals_held_back.h"
#include "proxy/config/password_filter.h"
#include "proxy/diagnostics/log.h"
#include "proxy/net/io_uring.h"
#include "proxy/server/listener.h"
#include "proxy/server/preparation.h"
#include "proxy/server/worker_pool.h"
#include "tls/records_choice.h"

namespace pgveil::proxy {
namespace {

void raise_descriptor_limit(const Snapshot& snapshot, unsigned workers) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  set_descriptor_limit_of_children(limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  if (const auto few = descriptor_shortage(snapshot, workers))
    LogLine(LogLevel::warning, "few_descriptors")
        .add("limit", few->limit)
        .add("wanted", few->wanted)
        .add("hint", kDescriptorHint);
}

// Returns the number of workers. Logs it with its reason.
unsigned choose_workers(const LimitsConfig& limits) {
  const GrantedCpus granted = granted_cpus();
  const unsigned count = worker_count(limits, granted);
  LogLine(LogLevel::info, "starting")
      .add("workers", count)
      .add_number("configured", limits.workers != 0 ? std::optional(limits.workers) : std::nullopt)
      .add("granted", granted.text());
  return count;
}

// Logs whether epoll or io_uring relays the bytes of sessions, and why; or why io_uring cannot be used.
void log_relay(LogLevel level, std::string_view engine, std::string_view because,
               std::string_view error = {}) {
  LogLine(level, "relay")
      .add("engine", engine)
      .add("because", because)
      .add("error", error)
      .add("hint", error.empty() ? "" : kRelayHint);
}

// Returns a ring for each worker, or none if epoll relays the bytes of sessions. Logs the choice with its reason.
tl::expected<std::vector<std::unique_ptr<Ring>>, int> choose_relay(RelayEngine wanted, unsigned workers) {
  std::vector<std::unique_ptr<Ring>> rings;
  if (wanted == RelayEngine::epoll) {
    log_relay(LogLevel::info, "epoll", "configured");
    return rings;
  }
  while (rings.size() < workers) {
    auto ring = Ring::open();
    if (ring) {
      rings.push_back(*std::move(ring));
    } else if (wanted == RelayEngine::automatic) {
      log_relay(LogLevel::info, "epoll", ring.error());
      return {};
    } else {
      log_relay(LogLevel::error, "io_uring", "", ring.error());
      return tl::unexpected(kExitUnavailable);
    }
  }
  log_relay(LogLevel::info, "io_uring", "");
  return rings;
}

// Returns the number of threads in libuv's pool, which this variable sets.
unsigned size_of_thread_pool() {
  constexpr unsigned kDefault = 4;
  constexpr unsigned long kMaxThreads = 1024;
  const char* text = std::getenv("UV_THREADPOOL_SIZE");
  if (text == nullptr) return kDefault;
  return static_cast<unsigned>(std::clamp<unsigned long>(std::strtoul(text, nullptr, 10), 1, kMaxThreads));
}

// Creates the threads of libuv's pool. libuv would create them when the pool is first used, perhaps hours
// after the start, and would abort the process if that failed. So this function first creates as many threads
// of its own, which throws std::system_error if it fails, and then lets libuv create the pool.
void make_thread_pool() {
  {
    std::promise<void> all_made;
    const auto when_all_made = all_made.get_future().share();
    std::vector<std::thread> trial;
    const auto end_trial = [&] {
      all_made.set_value();
      for (auto& thread : trial) thread.join();
    };
    try {
      for (unsigned made = 0; made < size_of_thread_pool(); ++made)
        trial.emplace_back([when_all_made] { when_all_made.wait(); });
    } catch (...) {
      end_trial();
      throw;
    }
    end_trial();
  }
  Loop loop;
  uv_work_t work{};
  const SignalsHeldBack held;
  uv_queue_work(
      loop.get(), &work, [](uv_work_t*) {}, [](uv_work_t*, int) {});
  uv_run(loop.get(), UV_RUN_DEFAULT);
}

class Server final : public Wakeable {
 public:
  Server(std::shared_ptr<const Snapshot> snapshot, unsigned workers, std::vector<std::unique_ptr<Ring>> rings)
      : snapshot_(std::move(snapshot)) {
    workers_.emplace(loop_.get(), snapshot_, workers, std::move(rings));
    shutdown_deadline_.emplace(loop_.get(), *this);
  }
  ~Server() { close_everything(); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Is called when shutdown_timeout has passed.
  void wake() override { close_everything(); }

  [[nodiscard]] int run() {
    const int exit_code = serve();
    close_everything();
    if (!workers_) return exit_code;
    // A thread does not end, and its destructor would wait for it.
    static_cast<void>(stop_log());
    std::_Exit(exit_code);
  }

 private:
  int serve() {
    // The handlers are installed first, so that a signal that is sent once pgveil listens is handled.
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) watch_signal(number);
    if (inherits_orphans()) {
      watch_signal(SIGCHLD);
      reap_children();
    }
    for (const ConfigError& warning : snapshot_->warnings)
      LogLine(LogLevel::warning, "configuration")
          .add("warning", values::without_passwords(warning.location() + warning.message))
          .add("hint", values::without_passwords(warning.hint));
    if (!listen()) return kExitUnavailable;
    uv_run(loop_.get(), UV_RUN_DEFAULT);
    LogLine(LogLevel::info, "stopped").add("abandoned_sessions", abandoned_);
    return kExitOk;
  }

  // Opens all listeners even if one fails, so that the log has all failures.
  bool listen() {
    bool all_listen = true;
    for (std::size_t i = 0; i < snapshot_->listeners.size(); ++i) {
      const SnapshotListener served(snapshot_, i);
      auto opened = Listener::open(loop_.get(), served, *workers_);
      if (!opened) {
        LogLine(LogLevel::error, "listen_failed")
            .add("error", opened.error().text)
            .add("hint", opened.error().hint);
        all_listen = false;
        continue;
      }
      for (auto& listener : *opened) {
        LogLine(LogLevel::info, "listening")
            .add("address", listener->address())
            .add("upstream", served.policy().config.upstream);
        listeners_.push_back(std::move(listener));
      }
    }
    return all_listen;
  }

  void watch_signal(int number) {
    auto& signal = signals_.emplace_back(new uv_signal_t);
    uv_signal_init(loop_.get(), signal.get());
    signal->data = this;
    uv_signal_start(
        signal.get(),
        [](uv_signal_t* handle, int got) { static_cast<Server*>(handle->data)->on_signal(got); }, number);
  }

  void on_signal(int number) {
    if (number == SIGCHLD) return reap_children();
    if (number == SIGHUP) {
      LogLine(LogLevel::warning, "reload_not_supported")
          .add("hint", "Restart pgveil to use a changed configuration.");
      return;
    }
    if (stopping_) return close_everything();
    stopping_ = true;
    LogLine(LogLevel::info, "stopping").add("signal", number == SIGTERM ? "SIGTERM" : "SIGINT");
    listeners_.clear();
    const auto timeout = snapshot_->limits.shutdown_timeout;
    shutdown_deadline_->set(timeout);
    workers_->shut_down([this] { close_everything(); });
    if (timeout.count() == 0) close_everything();
  }

  // Keeps the workers if their threads do not end.
  void close_everything() {
    if (std::exchange(closed_, true)) return;
    listeners_.clear();
    signals_.clear();
    shutdown_deadline_.reset();
    abandoned_ = workers_->abandon();
    if (workers_->have_ended()) workers_.reset();
    uv_stop(loop_.get());
  }

  Loop loop_;
  std::shared_ptr<const Snapshot> snapshot_;
  std::optional<WorkerPool> workers_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<Handle<uv_signal_t>> signals_;
  std::optional<Deadline> shutdown_deadline_;
  std::size_t abandoned_ = 0;
  bool stopping_ = false;
  bool closed_ = false;
};

}  // namespace

int serve(const std::shared_ptr<const Snapshot>& snapshot) {
  const unsigned workers = choose_workers(snapshot->limits);
  raise_descriptor_limit(*snapshot, workers);
  const auto records = tls::choose_records(snapshot->limits.tls_records);
  LogLine(LogLevel::info, "tls_records")
      .add("engine", records.own ? "own" : "openssl")
      .add("because", records.because);
  auto rings = choose_relay(snapshot->limits.relay, workers);
  if (!rings) return rings.error();
  try {
    make_thread_pool();
    return Server(snapshot, workers, *std::move(rings)).run();
  } catch (const std::system_error& error) {  // a loop or a thread could not be created
    LogLine(LogLevel::error, "start_failed")
        .add("error", error.what())
        .add("hint", "Raise the limits of open files and of threads, or lower limits.workers.");
    return kExitUnavailable;
  }
}

}  // namespace pgveil::proxy
