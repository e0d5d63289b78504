#include "proxy/server/listening_socket.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <iterator>
#include <utility>

#include "proxy/base/inherited_sockets.h"
#include "proxy/diagnostics/log.h"
#include "proxy/server/listen_hint.h"

namespace pgveil::proxy {
namespace {

// For `localhost` with port 0: the number of ports that are tried, because a port may be in use at the second
// address.
constexpr int kPortAttempts = 16;

template <class T>
using Opened = tl::expected<T, OpenFailure>;

OpenFailure failed(const SocketAddress& address, std::string_view what, std::string hint = "") {
  return listening_failure(address, what, errno, std::move(hint));
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

OpenFailure listening_failure(const SocketAddress& address, std::string_view what, int error,
                              std::string hint) {
  if (hint.empty()) hint = listen_hint(address, error);
  return {fmt::format("cannot listen on {}: {}: {}", address.text(), what, std::strerror(error)),
          std::move(hint), error};
}

std::optional<gid_t> group_id(const std::string& name_or_number) {
  if (const auto* group = ::getgrnam(name_or_number.c_str())) return group->gr_gid;
  gid_t number = 0;
  const char* end = name_or_number.data() + name_or_number.size();
  const auto read = std::from_chars(name_or_number.data(), end, number);
  // For chown(), the largest number means "no change".
  if (read.ec != std::errc() || read.ptr != end || number == static_cast<gid_t>(-1)) return std::nullopt;
  return number;
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

void set_client_options(const ListenerConfig& config, int descriptor) {
  set_option(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option_or_default(descriptor, TCP_KEEPIDLE, config.tcp_keepalives_idle.count());
  set_option_or_default(descriptor, TCP_KEEPINTVL, config.tcp_keepalives_interval.count());
  set_option_or_default(descriptor, TCP_KEEPCNT, config.tcp_keepalives_count);
  set_option_or_default(descriptor, TCP_USER_TIMEOUT, config.tcp_user_timeout.count());
}

tl::expected<std::vector<OpenSocket>, OpenFailure> open_listening_sockets(const ListenerConfig& config) {
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
  return std::move(opened->sockets);
}

ListenerConfig listening_config(const AdminConfig& admin) {
  ListenerConfig config;
  config.address = admin.address.value();
  config.unix_socket_permissions = admin.unix_socket_permissions;
  config.unix_socket_group = admin.unix_socket_group;
  return config;
}

SocketFile::SocketFile(const SocketAddress& address, bool is_inherited) : path_(address.unix_path) {
  struct stat file {};
  const bool has_file = address.is_unix() && !address.is_abstract() && !is_inherited;
  if (has_file && ::stat(path_.c_str(), &file) == 0) inode_ = file.st_ino;
}

SocketFile::~SocketFile() {
  struct stat file {};
  if (inode_ != 0 && ::stat(path_.c_str(), &file) == 0 && file.st_ino == inode_) ::unlink(path_.c_str());
}

}  // namespace pgveil::proxy
