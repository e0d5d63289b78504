#include "proxy/server/listener.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <iterator>
#include <limits>
#include <new>
#include <optional>
#include <utility>

#include "proxy/base/descriptor.h"
#include "proxy/base/inherited_sockets.h"
#include "proxy/diagnostics/log.h"
#include "proxy/server/listen_hint.h"

namespace pgveil::proxy {
namespace {

constexpr int kBacklog = 1024;
// The maximum number of clients accepted in one turn of the loop, so that many connections at once do not delay the
// other listeners or a signal.
constexpr int kMaxAccepts = 64;
// The pause before the next accept4() if the process has no descriptors. Clients wait in the kernel's queue.
constexpr std::chrono::milliseconds kDescriptorPause{100};
// While there is no room for a client, the time until the workers are asked again for clients whose place it may have.
constexpr std::chrono::milliseconds kFullPause{250};
// The minimum time between two log lines about too many clients that have not logged in.
constexpr std::chrono::minutes kFullTellPause{1};

// For `localhost` with port 0: the number of ports that are tried, because a port may be in use at the second
// address.
constexpr int kPortAttempts = 16;

template <class T>
using Opened = tl::expected<T, OpenFailure>;

OpenFailure failed(const SocketAddress& address, std::string_view what, std::string hint = "") {
  const int error = errno;
  if (hint.empty()) hint = listen_hint(address, error);
  return {fmt::format("cannot listen on {}: {}: {}", address.text(), what, std::strerror(error)),
          std::move(hint), error};
}

OpenFailure impossible(const SocketAddress& address, std::string_view why, std::string hint) {
  return {fmt::format("cannot listen on {}: {}", address.text(), why), std::move(hint), 0};
}

// Removes a socket file that an earlier process left. Does not remove a socket on which a process listens.
std::optional<OpenFailure> clear_stale_socket(const SocketAddress& address, const KernelAddress& bindable) {
  const std::string& path = address.unix_path;
  struct stat file {};
  if (::lstat(path.c_str(), &file) != 0) return std::nullopt;
  if (!S_ISSOCK(file.st_mode))
    return impossible(address, "the file exists and is not a socket", "Remove it, or use another path.");
  const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (::connect(probe.get(), bindable.get(), bindable.size) == 0 || errno != ECONNREFUSED)
    return impossible(address, "another process listens there", listen_hint(address, EADDRINUSE));
  if (::unlink(path.c_str()) != 0)
    return failed(address, "cannot remove the stale socket",
                  "Remove the file, or let the user of this process write to its directory.");
  return std::nullopt;
}

std::optional<OpenFailure> set_socket_file(const ListenerConfig& config) {
  const char* path = config.address.unix_path.c_str();
  if (!config.unix_socket_group.empty()) {
    const auto group = group_id(config.unix_socket_group);
    if (!group)
      return impossible(config.address,
                        fmt::format("there is no group \"{}\" (unix_socket_group)", config.unix_socket_group),
                        "Create it, or name another one.");
    if (::chown(path, static_cast<uid_t>(-1), *group) != 0)
      return failed(config.address, "cannot set unix_socket_group",
                    "Add the user of this process to the group, or name another one.");
  }
  if (::chmod(path, config.unix_socket_permissions) != 0)
    return failed(config.address, "cannot set unix_socket_permissions",
                  "Use a directory in which the user of this process may change files.");
  return std::nullopt;
}

std::optional<OpenFailure> bind_unix(const ListenerConfig& config, const KernelAddress& address,
                                     int descriptor) {
  if (config.address.is_abstract()) {
    if (::bind(descriptor, address.get(), address.size) != 0) return failed(config.address, "bind");
    return std::nullopt;
  }
  if (auto problem = clear_stale_socket(config.address, address)) return problem;
  // No client may connect before the file has the configured permissions. The mode of the socket becomes that of its
  // file; umask() would also change files that other threads create.
  ::fchmod(descriptor, 0);
  if (::bind(descriptor, address.get(), address.size) != 0) return failed(config.address, "bind");
  return set_socket_file(config);
}

void set_option(int descriptor, int level, int name, int value) {
  ::setsockopt(descriptor, level, name, &value, sizeof value);
}

// Sets an option to `value`, or to the system's default if `value` is 0.
void set_option_or_default(int descriptor, int name, std::int64_t value) {
  int wanted = static_cast<int>(value);
  if (value == 0) {
    const Descriptor fresh(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    socklen_t size = sizeof wanted;
    if (::getsockopt(fresh.get(), IPPROTO_TCP, name, &wanted, &size) != 0) return;
  }
  set_option(descriptor, IPPROTO_TCP, name, wanted);
}

// Sets options that accepted connections inherit, so that they cost no system calls for each client.
void set_client_options(const ListenerConfig& config, int descriptor) {
  set_option(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option_or_default(descriptor, TCP_KEEPIDLE, config.tcp_keepalives_idle.count());
  set_option_or_default(descriptor, TCP_KEEPINTVL, config.tcp_keepalives_interval.count());
  set_option_or_default(descriptor, TCP_KEEPCNT, config.tcp_keepalives_count);
  set_option_or_default(descriptor, TCP_USER_TIMEOUT, config.tcp_user_timeout.count());
}

std::optional<OpenFailure> bind_tcp(const ListenerConfig& config, const SocketAddress& address,
                                    const KernelAddress& bindable, int descriptor) {
  set_option(descriptor, SOL_SOCKET, SO_REUSEADDR, 1);
  if (config.reuse_port) set_option(descriptor, SOL_SOCKET, SO_REUSEPORT, 1);
  // As in PostgreSQL, an IPv6 socket accepts no IPv4 clients: no rule would match their mapped addresses.
  if (bindable.family() == AF_INET6) set_option(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  set_client_options(config, descriptor);
  if (::bind(descriptor, bindable.get(), bindable.size) != 0) return failed(address, "bind");
  return std::nullopt;
}

struct OpenSocket {
  Descriptor descriptor;
  bool is_inherited = false;
};

// Returns the socket that the service manager has opened for `address`.
Opened<OpenSocket> take_inherited(const ListenerConfig& config, const SocketAddress& address) {
  Descriptor inherited = inherited_socket(address);
  if (inherited.get() < 0) return tl::unexpected(failed(address, "fcntl"));
  if (address.is_unix()) return OpenSocket{std::move(inherited), true};
  int ipv6_only = 1;
  socklen_t size = sizeof ipv6_only;
  if (bound_address(inherited.get()).family() == AF_INET6)
    ::getsockopt(inherited.get(), IPPROTO_IPV6, IPV6_V6ONLY, &ipv6_only, &size);
  // As in PostgreSQL, an IPv6 socket accepts no IPv4 clients: no rule would match their mapped addresses.
  if (ipv6_only == 0)
    return tl::unexpected(impossible(address, "the socket of the service manager accepts IPv4 clients, too",
                                     "Set BindIPv6Only=ipv6-only in the socket unit."));
  set_client_options(config, inherited.get());
  return OpenSocket{std::move(inherited), true};
}

Opened<OpenSocket> open_socket(const ListenerConfig& config, const SocketAddress& address) {
  if (has_inherited_socket(address)) return take_inherited(config, address);
  const auto bindable = kernel_address(address);
  if (!bindable)
    return tl::unexpected(impossible(address,
                                     address.host.find('%') == std::string::npos
                                         ? "not an address"
                                         : "this machine has no such network interface",
                                     "Use an address of this machine."));
  Descriptor opened(::socket(bindable->family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (opened.get() < 0) return tl::unexpected(failed(address, "socket"));
  auto problem = bindable->is_unix() ? bind_unix(config, *bindable, opened.get())
                                     : bind_tcp(config, address, *bindable, opened.get());
  if (problem) return tl::unexpected(*std::move(problem));
  if (::listen(opened.get(), kBacklog) != 0) return tl::unexpected(failed(address, "listen"));
  return OpenSocket{std::move(opened), false};
}

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

// Returns whether the error means that the machine has no IPv6, or no IPv4.
bool is_missing_family(int error) {
  return error == EAFNOSUPPORT || error == EADDRNOTAVAIL;
}

struct OpenSockets {
  std::vector<OpenSocket> sockets;
  std::vector<OpenFailure> left_out;
};

// Opens one socket for each address, all with the same port, even if the system chooses it. If the port is in use at
// another address, the sockets that are already open stay in `passed_over`, so that the system then chooses another
// port.
Opened<OpenSockets> open_sockets(const ListenerConfig& config, std::vector<OpenSocket>& passed_over) {
  OpenSockets opened;
  auto addresses = config.address.each();
  for (auto& address : addresses) {
    if (address.port == 0 && !opened.sockets.empty())
      address.port = port_of(bound_address(opened.sockets.front().descriptor.get()));
    auto socket = open_socket(config, address);
    if (socket) {
      opened.sockets.push_back(*std::move(socket));
    } else if (addresses.size() > 1 && is_missing_family(socket.error().error)) {
      opened.left_out.push_back(std::move(socket).error());
    } else {
      std::move(opened.sockets.begin(), opened.sockets.end(), std::back_inserter(passed_over));
      return tl::unexpected(std::move(socket).error());
    }
  }
  if (opened.sockets.empty()) return tl::unexpected(opened.left_out.front());
  return opened;
}

}  // namespace

std::optional<gid_t> group_id(const std::string& name_or_number) {
  if (const auto* group = ::getgrnam(name_or_number.c_str())) return group->gr_gid;
  gid_t number = 0;
  const char* end = name_or_number.data() + name_or_number.size();
  const auto read = std::from_chars(name_or_number.data(), end, number);
  // For chown(), the largest number means "no change".
  if (read.ec != std::errc() || read.ptr != end || number == static_cast<gid_t>(-1)) return std::nullopt;
  return number;
}

tl::expected<std::vector<std::unique_ptr<Listener>>, OpenFailure> Listener::open(
    uv_loop_t* loop, const SnapshotListener& listener, WorkerPool& workers,
    const std::shared_ptr<ListenerUsage>& usage) {
  const ListenerConfig& config = listener.policy().config;
  const bool may_choose_again = config.address.port == 0 && config.address.each().size() > 1;
  std::vector<OpenSocket> passed_over;
  auto opened = open_sockets(config, passed_over);
  for (int attempt = 1; attempt < kPortAttempts && may_choose_again; ++attempt) {
    if (opened || opened.error().error != EADDRINUSE) break;
    opened = open_sockets(config, passed_over);
  }
  if (!opened) return tl::unexpected(std::move(opened).error());
  for (const auto& failure : opened->left_out)
    LogLine(LogLevel::info, "address_left_out").add("error", failure.text);
  std::vector<std::unique_ptr<Listener>> listeners;
  for (auto& socket : opened->sockets) {
    auto watched = watch_socket(loop, std::move(socket.descriptor));
    if (!watched) {
      errno = watched.error();
      return tl::unexpected(failed(config.address, "epoll_ctl"));
    }
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
  struct stat file {};
  const SocketAddress& address = served_.policy().config.address;
  const bool has_file = address.is_unix() && !address.is_abstract() && !is_inherited_;
  if (has_file && ::stat(address.unix_path.c_str(), &file) == 0) socket_inode_ = file.st_ino;
  poll_->data = this;
  set_max_unauthenticated(served_.policy().config.limits, *usage_);
  watch();
}

Listener::~Listener() {
  workers_.forget(*this);
  poll_.reset();
  // Before the socket is closed: after that, another process may replace the file by its own.
  struct stat file {};
  const char* path = served_.policy().config.address.unix_path.c_str();
  if (socket_inode_ != 0 && ::stat(path, &file) == 0 && file.st_ino == socket_inode_) ::unlink(path);
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
  if (workers_.has_room(*this, usage_)) return true;
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
