#include "proxy/server/server.h"

#include <sys/resource.h>
#include <uv.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <future>
#include <memory>
#include <new>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "proxy/admin/admin_server.h"
#include "proxy/base/child_process.h"
#include "proxy/base/cpu_quota.h"
#include "proxy/base/deadline.h"
#include "proxy/base/exit_code.h"
#include "proxy/base/handle.h"
#include "proxy/base/inherited_sockets.h"
#include "proxy/base/service_manager.h"
#include "proxy/base/signals_held_back.h"
#include "proxy/config/password_filter.h"
#include "proxy/config/restart_settings.h"
#include "proxy/diagnostics/audit.h"
#include "proxy/diagnostics/log.h"
#include "proxy/net/io_uring.h"
#include "proxy/server/expiry_watch.h"
#include "proxy/server/listener_set.h"
#include "proxy/server/omitted_records.h"
#include "proxy/server/preparation.h"
#include "proxy/server/reload_watch.h"
#include "proxy/server/worker_pool.h"
#include "tls/records_choice.h"

namespace pgveil::proxy {
namespace {

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  set_descriptor_limit_of_children(limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void warn_of_few_descriptors(const Snapshot& snapshot, unsigned workers) {
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

// Logs whether pgveil or OpenSSL reads and writes the TLS records, and why.
void log_records(const LimitsConfig& limits) {
  const auto records = tls::choose_records(limits.tls_records);
  LogLine(LogLevel::info, "tls_records")
      .add("engine", records.own ? "own" : "openssl")
      .add("because", records.because);
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

// How long sessions may take at the end of the process to send their last bytes.
constexpr std::chrono::seconds kFlushTime{2};

class Server final : public Wakeable {
 public:
  Server(std::shared_ptr<const Snapshot> snapshot, ConfigSource source, unsigned workers,
         std::vector<std::unique_ptr<Ring>> rings)
      : worker_count_(workers),
        start_settings_{snapshot->limits, snapshot->log, snapshot->audit, snapshot->admin},
        relay_(rings.empty() ? "epoll" : "io_uring"),
        snapshot_(std::move(snapshot)) {
    workers_.emplace(loop_.get(), snapshot_, workers, std::move(rings));
    listeners_.emplace(loop_.get(), *workers_);
    reloader_.emplace(loop_.get(), std::move(source), snapshot_->files,
                      [this](Reload reload) { on_reload(std::move(reload)); });
    reload_watch_.emplace(loop_.get(), *reloader_);
    expiry_watch_.emplace(
        loop_.get(), [this] { return server_expiries(*snapshot_); },
        [] { return static_cast<std::int64_t>(std::time(nullptr)); });
    omitted_records_.emplace(loop_.get());
    stop_deadline_.emplace(loop_.get(), *this);
    orders_.reset(new uv_async_t);
    uv_async_init(loop_.get(), orders_.get(),
                  [](uv_async_t* rung) { static_cast<Server*>(rung->data)->on_orders(); });
    orders_->data = this;
    state_.use(snapshot_, {});
  }
  ~Server() { close_everything(); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Is called when the time of a step of the shutdown has passed.
  void wake() override {
    switch (stop_) {
      case Stop::none: return;
      case Stop::delayed: return drain();
      case Stop::draining: return end_sessions();
      case Stop::ending: return close_everything();
    }
  }

  [[nodiscard]] int run() {
    const int exit_code = serve();
    close_everything();
    if (!workers_ && !reloader_->is_busy()) return exit_code;
    // A thread does not end, and a destructor would wait for it.
    static_cast<void>(stop_audit());
    static_cast<void>(stop_log());
    std::_Exit(exit_code);
  }

 private:
  // The steps of a shutdown.
  enum class Stop {
    none,
    delayed,   // until drain_delay has passed
    draining,  // until no session is left, or drain_timeout has passed
    ending,    // the sessions that are left send their last bytes
  };

  int serve() {
    // The handlers are installed first, so that a signal that is sent once pgveil listens is handled.
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) watch_signal(number);
    if (inherits_orphans()) {
      watch_signal(SIGCHLD);
      reap_children();
    }
    log_warnings(snapshot_->warnings);
    if (!open_admin_address() || !listen(snapshot_).empty()) return kExitUnavailable;
    state_.use(snapshot_, listeners_->observe());
    expiry_watch_->watch(snapshot_->expiries, snapshot_->log.certificate_warning);
    std::set<std::string> files;
    for (const auto& [path, digest] : snapshot_->files) files.insert(path);
    watch_files(std::move(files));
    warn_of_unused_sockets();
    notify_ready("serves clients");
    uv_run(loop_.get(), UV_RUN_DEFAULT);
    LogLine(LogLevel::info, "stopped").add("abandoned_sessions", abandoned_);
    return kExitOk;
  }

  // The service manager may have opened sockets for addresses that the configuration does not have.
  void warn_of_unused_sockets() const {
    std::set<std::string> used;
    const auto use = [&](const SocketAddress& address) {
      for (const SocketAddress& each : address.each())
        if (const auto bindable = kernel_address(each)) used.insert(bindable->text());
    };
    for (const ListenerPolicy& listener : snapshot_->listeners) use(listener.config.address);
    if (start_settings_.admin.address) use(*start_settings_.admin.address);
    for (const InheritedSocket& socket : inherited_sockets())
      if (!used.contains(socket.address))
        LogLine(LogLevel::warning, "socket_not_used")
            .add("name", socket.name)
            .add("address", socket.address)
            .add(
                "hint",
                "Clients that connect there are not served. Set the address of a listener to it, or remove it from "
                "the socket unit.");
  }

  // Serves health and metrics, and the admin database, if they are configured. Returns false, and logs why, if that is not
  // possible.
  bool open_admin_address() {
    if (!snapshot_->admin.address) {
      if (has_admin_database(*snapshot_)) serve_admin({});
      return true;
    }
    auto opened = open_listening_sockets(listening_config(snapshot_->admin));
    if (!opened) {
      LogLine(LogLevel::error, "listen_failed")
          .add("error", opened.error().text)
          .add("hint", opened.error().hint);
      return false;
    }
    std::vector<Descriptor> sockets;
    for (OpenSocket& socket : *opened) {
      LogLine(LogLevel::info, "admin_listening")
          .add("address", bound_address(socket.descriptor.get()).text());
      admin_file_.emplace(*snapshot_->admin.address, socket.is_inherited);
      sockets.push_back(std::move(socket.descriptor));
    }
    serve_admin(std::move(sockets));
    return true;
  }

  // `sockets`: of the admin address.
  void serve_admin(std::vector<Descriptor> sockets) {
    const auto& address = start_settings_.admin.address;
    admin_.emplace(std::move(sockets),
                   ObservedProcess{
                       .state = state_,
                       .shared = workers_->shared(),
                       .admin_database = workers_->admin_database(),
                       .facts = {.version = PGVEIL_VERSION,
                                 .relay = relay_,
                                 .labels = start_settings_.admin.labels,
                                 .admin_is_local = address && (address->is_unix() || address->is_loopback())},
                       .workers = workers_->observe(),
                       .reload = [this](const char* trigger) { order(reload_ordered_, trigger); },
                       .quit = [this](const char* trigger) { order(quit_ordered_, trigger); }},
                   accepted_hosts(start_settings_.admin));
  }

  // A reload may be the first configuration with an admin database. Without a thread for it, its sessions are refused.
  void serve_admin_database(const Snapshot& snapshot) {
    if (admin_ || !has_admin_database(snapshot)) return;
    try {
      serve_admin({});
    } catch (const std::system_error& error) {
      LogLine(LogLevel::error, "admin_database_not_served").add("error", error.what());
    } catch (const std::bad_alloc& error) {
      LogLine(LogLevel::error, "admin_database_not_served").add("error", error.what());
    }
  }

  // Who gave an order in the admin thread, as a literal; null: nobody.
  using Order = std::atomic<const char*>;
  // Called in the admin thread.
  void order(Order& which, const char* trigger) {
    which = trigger;
    uv_async_send(orders_.get());
  }
  void on_orders() {
    if (const char* trigger = reload_ordered_.exchange(nullptr)) {
      reopen_audit_file();
      request_reload(trigger);
    }
    if (const char* trigger = quit_ordered_.exchange(nullptr); trigger != nullptr && stop_ == Stop::none)
      begin_to_stop(trigger, true);
  }

  // Listens on the addresses of `snapshot` only. Logs what has changed. Otherwise logs and returns all failures.
  ConfigErrors listen(const std::shared_ptr<const Snapshot>& snapshot) {
    const auto change = listeners_->replace(snapshot);
    if (!change) {
      ConfigErrors failures;
      for (const OpenFailure& failure : change.error()) {
        LogLine(LogLevel::error, "listen_failed").add("error", failure.text).add("hint", failure.hint);
        failures.push_back(value_error(failure.text, failure.hint));
      }
      return failures;
    }
    for (const auto& [address, upstream] : change->added)
      LogLine(LogLevel::info, "listening").add("address", address).add("upstream", upstream);
    for (const std::string& address : change->removed)
      LogLine(LogLevel::info, "not_listening").add("address", address);
    return {};
  }

  void watch_files(std::set<std::string> files) {
    if (snapshot_->reload.watch)
      reload_watch_->watch(std::move(files));
    else
      reload_watch_->stop();
  }

  void on_reload(Reload reload) {
    bool is_used = false;
    bool is_noted = false;
    try {
      const auto used = use(reload);
      is_used = used.has_value();
      note(used);
      is_noted = true;
      watch_files(std::move(reload.files));
    } catch (const std::bad_alloc&) {
      // Without memory there may be no log line; what the reload has not changed yet stays as it was.
      if (!is_noted) state_.note_failed_reload(nullptr);
    }
    if (reloader_->is_another_requested()) return;
    notify_ready(is_used ? "serves clients; the last reload succeeded"
                         : "serves clients; the last reload failed, see the log");
  }

  // For the admin address.
  void note(const tl::expected<void, ConfigErrors>& used) {
    if (used) return state_.note_reload();
    state_.note_failed_reload(std::make_shared<const ConfigErrors>(used.error()));
  }

  // Uses what was loaded. Logs and returns what is wrong, if it cannot be used.
  [[nodiscard]] tl::expected<void, ConfigErrors> use(const Reload& reload) {
    const auto fail = [&](ConfigErrors mistakes, std::size_t errors) {
      LogLine(LogLevel::error, "reload_failed")
          .add("trigger", reload.trigger)
          .add("errors", errors)
          .add("hint",
               "pgveil continues with the configuration that it had. Correct the errors, and reload again.");
      return tl::unexpected(std::move(mistakes));
    };
    if (!reload.loaded) {
      const ConfigErrors errors = reload.loaded.error().errors();
      for (const ConfigError& error : errors) log_configuration(LogLevel::error, "error", error);
      return fail(errors, errors.size());
    }
    const auto& snapshot = *reload.loaded;
    log_warnings(snapshot->warnings);
    warn_of_few_descriptors(*snapshot, worker_count_);
    if (ConfigErrors failures = listen(snapshot); !failures.empty()) return fail(std::move(failures), 1);
    serve_admin_database(*snapshot);
    take_over_status(*snapshot);
    state_.use(snapshot, listeners_->observe());
    workers_->replace_snapshot(snapshot);
    change_log(snapshot->log);
    change_audit(snapshot->audit);
    const std::string unchanged = changed_restart_settings(
        start_settings_, {snapshot->limits, snapshot->log, snapshot->audit, snapshot->admin});
    if (!unchanged.empty())
      LogLine(LogLevel::warning, "restart_needed")
          .add("settings", unchanged)
          .add("hint", "Restart pgveil to use the new values of these settings.");
    if (snapshot->limits.tls_records != snapshot_->limits.tls_records) log_records(snapshot->limits);
    snapshot_ = snapshot;
    expiry_watch_->watch(snapshot_->expiries, snapshot_->log.certificate_warning);
    warn_of_unused_sockets();
    LogLine(LogLevel::info, "reloaded")
        .add("trigger", reload.trigger)
        .add("duration_ms", static_cast<std::uint64_t>(reload.duration.count()));
    return {};
  }

  // What was last seen of an upstream stays known until it is checked again, which happens at once. It does not if the servers
  // are others now, or if there are no checks.
  void take_over_status(const Snapshot& next) const {
    for (const auto& [name, upstream] : next.upstreams) {
      const auto earlier = snapshot_->upstreams.find(name);
      if (earlier == snapshot_->upstreams.end()) continue;
      const UpstreamConfig& before = earlier->second->config;
      const bool is_same =
          before.hosts == upstream->config.hosts && before.sslmode == upstream->config.sslmode;
      upstream->status->take_over(*earlier->second->status,
                                  is_same && next.admin.upstream_check_interval.count() > 0);
    }
  }

  static void log_configuration(LogLevel level, std::string_view key, const ConfigError& error) {
    LogLine(level, "configuration")
        .add(key, values::without_passwords(error.location() + error.message))
        .add("hint", values::without_passwords(error.hint));
  }
  static void log_warnings(const ConfigErrors& warnings) {
    for (const ConfigError& warning : warnings) log_configuration(LogLevel::warning, "warning", warning);
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
      reopen_audit_file();
      return request_reload("SIGHUP");
    }
    if (stop_ != Stop::none) return close_everything();
    begin_to_stop(number == SIGTERM ? "SIGTERM" : "SIGINT", number == SIGTERM);
  }

  void request_reload(const std::string& trigger) {
    if (stop_ != Stop::none) return;
    notify_reloading();
    reloader_->request(trigger, ReloadIf::always);
  }

  // `trigger`: the signal or the request. Without `drains`, the sessions end at once.
  void begin_to_stop(std::string_view trigger, bool drains) {
    notify_stopping();
    state_.set_draining();
    LogLine(LogLevel::info, "stopping").add("signal", trigger);
    reload_watch_->stop();
    reloader_->stop();
    if (!drains) return end_sessions();
    listeners_->leave_to_successor();
    stop_ = Stop::delayed;
    if (snapshot_->limits.drain_delay.count() == 0) return drain();
    stop_deadline_->set(snapshot_->limits.drain_delay);
  }

  // The listeners stay open, so that CancelRequests arrive. Other clients are refused.
  void drain() {
    const auto timeout = snapshot_->limits.drain_timeout;
    if (timeout.count() == 0) return end_sessions();
    stop_ = Stop::draining;
    const auto loads = workers_->loads();
    LogLine(LogLevel::info, "draining")
        .add("sessions", std::accumulate(loads.begin(), loads.end(), std::size_t{0}));
    stop_deadline_->set(timeout);
    workers_->drain([this] { end_sessions(); });
  }

  // Ends the sessions that are left. They get a short time for their last bytes.
  void end_sessions() {
    if (closed_ || stop_ == Stop::ending) return;
    stop_ = Stop::ending;
    listeners_->close();
    stop_deadline_->set(kFlushTime);
    workers_->shut_down([this] { close_everything(); });
  }

  // From here on a signal changes nothing: the process ends with its exit code.
  void ignore_signals() {
    const SignalsHeldBack held;  // libuv restores the default, which would end the process
    signals_.clear();
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) std::signal(number, SIG_IGN);
  }

  // Keeps the workers if their threads do not end.
  void close_everything() {
    if (std::exchange(closed_, true)) return;
    expiry_watch_.reset();
    omitted_records_.reset();
    admin_file_.reset();
    admin_.reset();
    orders_.reset();
    reload_watch_->stop();
    reloader_->stop();
    listeners_.reset();
    ignore_signals();
    stop_deadline_.reset();
    abandoned_ = workers_->abandon();
    if (workers_->have_ended()) workers_.reset();
    uv_stop(loop_.get());
  }

  const unsigned worker_count_;
  const ProcessSettings start_settings_;
  const std::string relay_;
  Loop loop_;
  std::shared_ptr<const Snapshot> snapshot_;
  std::optional<WorkerPool> workers_;
  std::optional<ListenerSet> listeners_;
  std::optional<Reloader> reloader_;
  std::optional<ReloadWatch> reload_watch_;
  std::optional<ExpiryWatch> expiry_watch_;
  std::optional<OmittedRecords> omitted_records_;
  std::vector<Handle<uv_signal_t>> signals_;
  std::optional<Deadline> stop_deadline_;
  ProcessState state_;
  Handle<uv_async_t> orders_;  // of the admin thread
  Order reload_ordered_{nullptr};
  Order quit_ordered_{nullptr};
  std::optional<SocketFile> admin_file_;
  std::optional<AdminServer> admin_;
  std::size_t abandoned_ = 0;
  Stop stop_ = Stop::none;
  bool closed_ = false;
};

}  // namespace

int serve(const std::shared_ptr<const Snapshot>& snapshot, ConfigSource source) {
  const unsigned workers = choose_workers(snapshot->limits);
  raise_descriptor_limit();
  warn_of_few_descriptors(*snapshot, workers);
  log_records(snapshot->limits);
  auto rings = choose_relay(snapshot->limits.relay, workers);
  if (!rings) return rings.error();
  try {
    make_thread_pool();
    return Server(snapshot, std::move(source), workers, *std::move(rings)).run();
  } catch (const std::system_error& error) {  // a loop or a thread could not be created
    LogLine(LogLevel::error, "start_failed")
        .add("error", error.what())
        .add("hint", "Raise the limits of open files and of threads, or lower limits.workers.");
    return kExitUnavailable;
  }
}

}  // namespace pgveil::proxy
