#include "proxy/server/listener.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <new>
#include <optional>
#include <utility>

#include "proxy/base/descriptor.h"
#include "proxy/diagnostics/log.h"
#include "proxy/server/listen_hint.h"

namespace pgveil::proxy {
namespace {

// The maximum number of clients accepted in one turn of the loop, so that many connections at once do not delay the
// other listeners or a signal.
constexpr int kMaxAccepts = 64;
// The pause before the next accept4() if the process has no descriptors. Clients wait in the kernel's queue.
constexpr std::chrono::milliseconds kDescriptorPause{100};
// While there is no room for a client, the time until the workers are asked again for clients whose place it may have.
constexpr std::chrono::milliseconds kFullPause{250};
// The minimum time between two log lines about too many clients that have not logged in.
constexpr std::chrono::minutes kFullTellPause{1};

void set_max_unauthenticated(const ListenerLimits& limits, ListenerUsage& usage) {
  const std::size_t max = limits.max_unauthenticated_clients;
  usage.unauthenticated_clients.set_max(max == 0 ? std::numeric_limits<std::size_t>::max() : max);
}

// No exception may leave a callback of libuv.
template <class Log>
void log_if_there_is_memory(const Log& log) {
  try {
    log();
  } catch (const std::bad_alloc&) {
    return;
  }
}

}  // namespace

tl::expected<std::vector<std::unique_ptr<Listener>>, OpenFailure> Listener::open(
    uv_loop_t* loop, const SnapshotListener& listener, WorkerPool& workers,
    const std::shared_ptr<ListenerUsage>& usage) {
  const ListenerConfig& config = listener.policy().config;
  auto opened = open_listening_sockets(config);
  if (!opened) return tl::unexpected(std::move(opened).error());
  std::vector<std::unique_ptr<Listener>> listeners;
  for (auto& socket : *opened) {
    auto watched = watch_socket(loop, std::move(socket.descriptor));
    if (!watched) return tl::unexpected(listening_failure(config.address, "epoll_ctl", watched.error()));
    listeners.push_back(std::unique_ptr<Listener>(
        new Listener(loop, listener, workers, usage, *std::move(watched), socket.is_inherited)));
  }
  return listeners;
}

Listener::Listener(uv_loop_t* loop, SnapshotListener served, WorkerPool& workers,
                   std::shared_ptr<ListenerUsage> usage, WatchedSocket socket, bool is_inherited)
    : served_(std::move(served)),
      workers_(workers),
      usage_(std::move(usage)),
      descriptor_(socket.descriptor.release()),
      address_(bound_address(descriptor_).text()),
      is_inherited_(is_inherited),
      poll_(std::move(socket.poll)),
      pause_(loop, *this) {
  file_.emplace(served_.policy().config.address, is_inherited_);
  // The timer is made here: there may be no memory for it later.
  pause_.set(kDescriptorPause);
  pause_.clear();
  poll_->data = this;
  set_max_unauthenticated(served_.policy().config.limits, *usage_);
  watch();
}

Listener::~Listener() {
  workers_.forget(*this);
  poll_.reset();
  file_.reset();
  ::close(descriptor_);
}

void Listener::serve(SnapshotListener listener) {
  const ListenerConfig& before = served_.policy().config;
  const ListenerConfig& config = listener.policy().config;
  if (!config.address.is_unix()) {
    set_client_options(config, descriptor_);
  } else if (is_inherited_) {
    // The file belongs to the service manager.
  } else if (before.unix_socket_permissions != config.unix_socket_permissions ||
             before.unix_socket_group != config.unix_socket_group) {
    const auto path = config.address.unix_path;
    if (config.unix_socket_group.empty())
      static_cast<void>(!::chown(path.c_str(), static_cast<uid_t>(-1), ::getegid()));
    if (const auto failure = set_socket_file(config))
      LogLine(LogLevel::error, "listener_not_changed").add("error", failure->text).add("hint", failure->hint);
  }
  set_max_unauthenticated(config.limits, *usage_);
  served_ = std::move(listener);
}

bool Listener::leave_to_successor() {
  if (is_inherited_) return true;
  if (!served_.policy().config.reuse_port) return false;
  accept_before_close();
  return true;
}

// The kernel resets the connections of clients that still wait when the socket is closed. So the limit of clients that have
// not logged in does not count here.
void Listener::accept_before_close() {
  for (int accepted = 0; accepted <= kBacklog; ++accepted) {
    KernelAddress peer;
    peer.size = sizeof peer.storage;
    Descriptor client(::accept4(descriptor_, peer.get(), &peer.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (client.get() < 0 && errno == ECONNABORTED) continue;
    if (client.get() < 0 || !workers_.assign(std::move(client), peer, served_, address_, usage_)) return;
  }
}

void Listener::wake() {
  watch();
  accept_all();
}

void Listener::accept_all() {
  for (int accepted = 0; accepted < kMaxAccepts; ++accepted) {
    if (!has_room()) return;
    KernelAddress peer;
    peer.size = sizeof peer.storage;
    Descriptor client(::accept4(descriptor_, peer.get(), &peer.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (client.get() >= 0) {
      out_of_descriptors_ = false;
      if (!workers_.assign(std::move(client), peer, served_, address_, usage_)) return pause(ENOMEM);
      continue;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) return pause(errno);
    if (errno == EAGAIN) return;
    // ECONNABORTED and similar errors: the client disconnected while it waited. Further clients may be waiting.
  }
}

void Listener::pause(int error) {
  uv_poll_stop(poll_.get());
  pause_.set(kDescriptorPause);
  if (std::exchange(out_of_descriptors_, true)) return;
  usage_->accept_pauses.resources.add();
  log_if_there_is_memory([&] {
    LogLine(LogLevel::error, "accept_failed")
        .add("listener", address_)
        .add("error", std::strerror(error))
        .add("hint", accept_hint(error));
  });
}

// Returns whether a further client may be accepted. If not, clients wait in the kernel's queue until one may be.
bool Listener::has_room() {
  workers_.forget(*this);
  if (workers_.has_room(*this, usage_)) {
    is_full_ = false;
    return true;
  }
  if (!std::exchange(is_full_, true)) usage_->accept_pauses.unauthenticated_clients.add();
  uv_poll_stop(poll_.get());
  pause_.set(kFullPause);
  const auto now = std::chrono::steady_clock::now();
  if (full_told_ && now - *full_told_ < kFullTellPause) return false;
  full_told_ = now;
  log_if_there_is_memory([&] {
    LogLine(LogLevel::warning, "accept_paused")
        .add("listener", address_)
        .add(
            "hint",
            "New connections wait: max_unauthenticated_clients of the listener or of limits is reached. Clients that "
            "do not log in are closed to make room.");
  });
  return false;
}

void Listener::watch() {
  uv_poll_start(poll_.get(), UV_READABLE, on_readable);
}

void Listener::on_readable(uv_poll_t* poll, int /*status*/, int /*events*/) {
  static_cast<Listener*>(poll->data)->accept_all();
}

}  // namespace pgveil::proxy
