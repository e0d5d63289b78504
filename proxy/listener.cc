#include "proxy/listener.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "proxy/descriptor.h"
#include "proxy/log.h"

namespace pgveil::proxy {
namespace {

constexpr int kBacklog = 1024;
// Accepted in one turn of the loop, so that a storm of connections does not hold up the other listeners, or a
// signal.
constexpr int kMaxAccepts = 64;
// Out of descriptors: connections wait in the kernel's queue until some session has ended.
constexpr std::chrono::milliseconds kDescriptorPause{100};
// The log says at most so often that too many clients have not logged in.
constexpr std::chrono::minutes kFullPause{1};

std::string failed(const ListenerConfig& config, std::string_view what) {
  return fmt::format("cannot listen on {}: {}: {}", config.address.text(), what, std::strerror(errno));
}

// Removes the file that a process left behind. A socket that somebody answers is not touched.
std::optional<std::string> clear_stale_socket(const ListenerConfig& config, const KernelAddress& address) {
  const std::string& path = config.address.unix_path;
  struct stat file {};
  if (::lstat(path.c_str(), &file) != 0) return std::nullopt;
  if (!S_ISSOCK(file.st_mode))
    return fmt::format(
        "cannot listen on {}: the file exists and is no socket. Remove it, or choose another path",
        config.address.text());
  const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (::connect(probe.get(), address.get(), address.size) == 0 || errno != ECONNREFUSED)
    return fmt::format("cannot listen on {}: another process listens there. Stop it, or choose another path",
                       config.address.text());
  if (::unlink(path.c_str()) != 0) return failed(config, "cannot remove the stale socket");
  return std::nullopt;
}

std::optional<std::string> set_socket_file(const ListenerConfig& config) {
  const char* path = config.address.unix_path.c_str();
  if (!config.unix_socket_group.empty()) {
    const auto* group = ::getgrnam(config.unix_socket_group.c_str());
    if (group == nullptr)
      return fmt::format("cannot listen on {}: there is no group \"{}\" (unix_socket_group)",
                         config.address.text(), config.unix_socket_group);
    if (::chown(path, static_cast<uid_t>(-1), group->gr_gid) != 0)
      return failed(config, "cannot set unix_socket_group");
  }
  if (::chmod(path, config.unix_socket_permissions) != 0)
    return failed(config, "cannot set unix_socket_permissions");
  return std::nullopt;
}

std::optional<std::string> bind_unix(const ListenerConfig& config, const KernelAddress& address,
                                     int descriptor) {
  if (auto problem = clear_stale_socket(config, address)) return problem;
  // Nobody may connect before the mode is what was asked for.
  const mode_t before = ::umask(0777);
  const int bound = ::bind(descriptor, address.get(), address.size);
  ::umask(before);
  if (bound != 0) return failed(config, "bind");
  return set_socket_file(config);
}

std::optional<std::string> bind_tcp(const ListenerConfig& config, const KernelAddress& address,
                                    int descriptor) {
  const int on = 1;
  ::setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // As PostgreSQL: an IPv6 socket takes no IPv4 clients under mapped addresses, which no rule would match.
  if (address.family() == AF_INET6) ::setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (::bind(descriptor, address.get(), address.size) != 0) return failed(config, "bind");
  return std::nullopt;
}

}  // namespace

tl::expected<std::unique_ptr<Listener>, std::string> Listener::open(uv_loop_t* loop,
                                                                    const ListenerPolicy& policy,
                                                                    Workers& workers) {
  const ListenerConfig& config = policy.config;
  const auto address = kernel_address(config.address);
  if (!address) return tl::unexpected("cannot listen on " + config.address.text() + ": not an address");
  Descriptor opened(::socket(address->family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (opened.get() < 0) return tl::unexpected(failed(config, "socket"));
  const auto problem = address->is_unix() ? bind_unix(config, *address, opened.get())
                                          : bind_tcp(config, *address, opened.get());
  if (problem) return tl::unexpected(*problem);
  if (::listen(opened.get(), kBacklog) != 0) return tl::unexpected(failed(config, "listen"));
  auto socket = watch_socket(loop, std::move(opened));
  if (!socket) {
    errno = socket.error();
    return tl::unexpected(failed(config, "epoll_ctl"));
  }
  return std::unique_ptr<Listener>(new Listener(loop, policy, workers, *std::move(socket)));
}

Listener::Listener(uv_loop_t* loop, const ListenerPolicy& policy, Workers& workers, WatchedSocket socket)
    : policy_(policy),
      workers_(workers),
      descriptor_(socket.descriptor.release()),
      address_(bound_address(descriptor_).text()),
      poll_(std::move(socket.poll)),
      pause_(loop, *this) {
  struct stat file {};
  const SocketAddress& address = policy.config.address;
  if (address.is_unix() && ::stat(address.unix_path.c_str(), &file) == 0) socket_inode_ = file.st_ino;
  poll_->data = this;
  watch();
}

Listener::~Listener() {
  workers_.forget(*this);
  poll_.reset();
  ::close(descriptor_);
  struct stat file {};
  const char* path = policy_.config.address.unix_path.c_str();
  if (socket_inode_ != 0 && ::stat(path, &file) == 0 && file.st_ino == socket_inode_) ::unlink(path);
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
      const int on = 1;
      if (!peer.is_unix()) ::setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      if (!peer.is_unix()) ::setsockopt(client.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
      if (!workers_.adopt(std::move(client), peer, policy_, address_)) return pause(std::strerror(ENOMEM));
      continue;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
      return pause(std::strerror(errno));
    if (errno == EAGAIN) return;
    // ECONNABORTED and the like: the client went away while it waited. The next one may still be there.
  }
}

void Listener::pause(const char* error) {
  if (!std::exchange(out_of_descriptors_, true))
    LogLine(LogLevel::error, "accept_failed")
        .add("listener", address_)
        .add("error", error)
        .add("hint", "New connections wait. Raise the limit of open files (LimitNOFILE, ulimit -n).");
  uv_poll_stop(poll_.get());
  pause_.set(kDescriptorPause);
}

// If not, clients wait in the kernel's queue until there is.
bool Listener::has_room() {
  if (workers_.has_room(*this)) return true;
  uv_poll_stop(poll_.get());
  const auto now = std::chrono::steady_clock::now();
  if (full_told_ && now - *full_told_ < kFullPause) return false;
  full_told_ = now;
  LogLine(LogLevel::warning, "accept_paused")
      .add("listener", address_)
      .add("hint",
           "New connections wait until a client logs in or leaves: limits.max_unauthenticated_clients is "
           "reached.");
  return false;
}

void Listener::watch() {
  uv_poll_start(poll_.get(), UV_READABLE, on_readable);
}

void Listener::on_readable(uv_poll_t* poll, int /*status*/, int /*events*/) {
  static_cast<Listener*>(poll->data)->accept_all();
}

}  // namespace pgveil::proxy
