#include "proxy/server.h"

#include <sys/resource.h>

#include <csignal>
#include <optional>

#include "proxy/cli.h"
#include "proxy/log.h"

namespace pgveil::proxy {
namespace {

// Two descriptors a session and some for everything else.
constexpr rlim_t kSpareDescriptors = 64;

void raise_descriptor_limit(const Config& config) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  const rlim_t wanted = 2 * config.limits.max_sessions + kSpareDescriptors;
  if (limit.rlim_cur < wanted)
    LogLine(LogLevel::warning, "few_descriptors")
        .add("limit", limit.rlim_cur)
        .add("wanted", wanted)
        .add("hint", "limits.max_sessions cannot be reached. Raise the limit of open files, or lower it.");
}

class Server final : public Wakeable {
 public:
  explicit Server(std::shared_ptr<const Snapshot> snapshot) : snapshot_(std::move(snapshot)) {
    worker_.emplace(&loop_.loop, snapshot_);
    shutdown_deadline_.emplace(&loop_.loop, *this);
  }
  ~Server() { close_everything(); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // shutdown_timeout has passed.
  void wake() override { close_everything(); }

  [[nodiscard]] int run() {
    // First, so that a signal finds its handler as soon as anybody can know that we listen.
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) watch_signal(number);
    for (const Mistake& warning : snapshot_->warnings)
      LogLine(LogLevel::warning, "configuration").add("warning", warning.text());
    if (!listen()) return kExitUnavailable;
    uv_run(&loop_.loop, UV_RUN_DEFAULT);
    LogLine(LogLevel::info, "stopped").add("abandoned_sessions", abandoned_);
    return kExitOk;
  }

 private:
  // Made before and closed after everything that stands on it.
  struct Loop {
    Loop() { uv_loop_init(&loop); }
    ~Loop() {
      uv_run(&loop, UV_RUN_DEFAULT);  // the close callbacks
      uv_loop_close(&loop);
    }
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;
    uv_loop_t loop{};
  };

  bool listen() {
    for (const ListenerPolicy& policy : snapshot_->listeners) {
      auto listener = Listener::open(&loop_.loop, policy, *worker_);
      if (!listener) {
        LogLine(LogLevel::error, "listen_failed").add("error", listener.error());
        return false;
      }
      LogLine(LogLevel::info, "listening")
          .add("address", (*listener)->address())
          .add("upstream", policy.config.upstream);
      listeners_.push_back(std::move(*listener));
    }
    return true;
  }

  void watch_signal(int number) {
    auto& signal = signals_.emplace_back(new uv_signal_t);
    uv_signal_init(&loop_.loop, signal.get());
    signal->data = this;
    uv_signal_start(
        signal.get(),
        [](uv_signal_t* handle, int got) { static_cast<Server*>(handle->data)->on_signal(got); }, number);
  }

  void on_signal(int number) {
    if (number == SIGHUP) {
      LogLine(LogLevel::warning, "reload_not_supported")
          .add("hint", "Restart pgveil to use a changed configuration.");
      return;
    }
    if (stopping_) return close_everything();
    stopping_ = true;
    LogLine(LogLevel::info, "stopping").add("signal", number == SIGTERM ? "SIGTERM" : "SIGINT");
    listeners_.clear();
    shutdown_deadline_->set(snapshot_->config.limits.shutdown_timeout);
    worker_->shut_down([this] { close_everything(); });
  }

  void close_everything() {
    if (worker_) abandoned_ = worker_->population();
    listeners_.clear();
    signals_.clear();
    shutdown_deadline_.reset();
    if (worker_) worker_->abandon();
    worker_.reset();
  }

  Loop loop_;
  std::shared_ptr<const Snapshot> snapshot_;
  std::optional<Worker> worker_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<Handle<uv_signal_t>> signals_;
  std::optional<Deadline> shutdown_deadline_;
  std::size_t abandoned_ = 0;
  bool stopping_ = false;
};

}  // namespace

int serve(const std::shared_ptr<const Snapshot>& snapshot) {
  std::signal(SIGPIPE, SIG_IGN);
  raise_descriptor_limit(snapshot->config);
  return Server(snapshot).run();
}

}  // namespace pgveil::proxy
