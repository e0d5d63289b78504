#include "proxy/server/preparation.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/admin/http_listener.h"
#include "proxy/base/descriptor.h"
#include "proxy/base/exit_code.h"
#include "proxy/base/inherited_sockets.h"
#include "proxy/base/socket_address.h"
#include "proxy/config/values.h"
#include "proxy/diagnostics/audit.h"
#include "proxy/net/io_uring.h"
#include "proxy/server/listen_hint.h"
#include "proxy/server/listening_socket.h"
#include "tls/digest.h"

namespace pgveil::proxy {
namespace {

using values::in_quotes;

// pgveil needs two descriptors for each session, kDescriptorsOfWorker for each worker (its loop, its ring and some
// look-ups), and kSpareDescriptors for everything else.
constexpr std::uint64_t kDescriptorsOfWorker = 9;
constexpr std::uint64_t kSpareDescriptors = 64;
// Without sessions, pgveil needs five descriptors for each worker, one for each listener, and kStartDescriptors.
constexpr std::uint64_t kDescriptorsOfIdleWorker = 5;
constexpr std::uint64_t kStartDescriptors = 15;
// The loop of the admin thread, its sockets, and one connection.
constexpr std::uint64_t kDescriptorsOfAdmin = 7;

std::string system_error() {
  return std::strerror(errno);
}

// Returns whether the kernel permits the access to this process, with its effective user and group.
bool may_access(const std::string& path, int mode) {
  return ::faccessat(AT_FDCWD, path.c_str(), mode, AT_EACCESS) == 0;
}

std::string directory_of(const std::string& path) {
  const auto parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

// Returns why no file can be created in `directory`; nullopt: it can be created.
std::optional<std::string> why_no_file_in(const std::string& directory) {
  struct stat file {};
  if (::stat(directory.c_str(), &file) != 0) return system_error();
  if (!S_ISDIR(file.st_mode)) return std::strerror(ENOTDIR);
  if (!may_access(directory, W_OK | X_OK)) return system_error();
  return std::nullopt;
}

bool has_capability(unsigned number) {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
  if (::syscall(SYS_capget, &header, data.data()) != 0) return false;
  return (data.at(number / 32).effective >> (number % 32) & 1U) != 0;
}

// Returns whether this process may change the group of its own files to `group` (chown(2)).
bool may_give_to(gid_t group) {
  if (group == ::getegid() || has_capability(CAP_CHOWN)) return true;
  const int count = ::getgroups(0, nullptr);
  if (count <= 0) return false;
  std::vector<gid_t> groups(static_cast<std::size_t>(count));
  return ::getgroups(count, groups.data()) == count && std::ranges::find(groups, group) != groups.end();
}

// Returns the interpreter that the first line of a script names. Empty: the file is not a script, or cannot be read.
std::string interpreter_of(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  std::array<char, 256> begin{};
  const ssize_t size = file.get() < 0 ? -1 : ::read(file.get(), begin.data(), begin.size());
  std::string_view line(begin.data(), size < 0 ? 0 : static_cast<std::size_t>(size));
  if (!line.starts_with("#!") || line.find('\n') == std::string_view::npos) return "";
  line = line.substr(2, line.find('\n') - 2);
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  return std::string(line.substr(0, line.find_first_of(" \t")));
}

// Returns why the kernel cannot run the file; nullopt: it can.
std::optional<std::string> why_not_run(const std::string& path) {
  struct stat file {};
  if (::stat(path.c_str(), &file) != 0) return system_error();
  if (!S_ISREG(file.st_mode)) return "it is not a regular file";
  if (!may_access(path, X_OK)) return system_error();
  const auto interpreter = interpreter_of(path);
  if (!interpreter.empty() && !may_access(interpreter, X_OK))
    return "its interpreter " + in_quotes(interpreter) + ": " + system_error();
  return std::nullopt;
}

// Returns why execvp() cannot find or run the program; nullopt: it can.
std::optional<std::string> why_not_found(const std::string& program) {
  if (program.find('/') != std::string::npos) return why_not_run(program);
  const char* variable = std::getenv("PATH");
  std::string_view path = variable != nullptr ? variable : "/bin:/usr/bin";
  for (;;) {
    const auto end = std::min(path.find(':'), path.size());
    std::string candidate(end == 0 ? "." : path.substr(0, end));
    candidate.append("/").append(program);
    if (!why_not_run(candidate)) return std::nullopt;
    if (end == path.size()) return "there is no such program in PATH";
    path.remove_prefix(end + 1);
  }
}

// Checks that the objects that a configuration needs exist on this machine.
class MachineCheck {
 public:
  explicit MachineCheck(const ParsedConfig& parsed) : parsed_(parsed) {}

  void run(Occasion occasion) {
    const Config& config = parsed_.config;
    for (std::size_t i = 0; i < config.listeners.size(); ++i)
      check_listener(config.listeners[i], "listener[" + std::to_string(i) + ']');
    if (config.admin.address) check_listener(listening_config(config.admin), "admin");
    for (const auto& [name, upstream] : config.upstreams) check_upstream(upstream, "upstream." + name);
    check_openssl();
    if (occasion == Occasion::start) check_limits(config);
    if (config.audit.target == AuditTarget::file) check_audit_file(config.audit.file);
    if (occasion == Occasion::start) check_audit_socket(config.audit);
  }

  [[nodiscard]] const ConfigReport& report() const { return report_; }
  // Returns whether a setting itself is wrong. Otherwise only an object that it names is missing on this machine.
  [[nodiscard]] bool is_setting_wrong() const { return is_setting_wrong_; }

 private:
  enum class Fault { setting, machine };
  void add(Fault fault, const std::string& key, std::string message, std::string hint) {
    report_.add_error(parsed_.locations.error_at(key, std::move(message), std::move(hint)));
    if (fault == Fault::setting) is_setting_wrong_ = true;
  }

  void check_listener(const ListenerConfig& listener, const std::string& key) {
    if (has_inherited_socket(listener.address)) return;
    if (listener.address.is_unix())
      check_socket_file(listener.address.unix_path, key + ".address");
    else if (!listener.address.host.empty())
      check_tcp_address(listener.address, key + ".address");
    if (!listener.unix_socket_group.empty())
      check_group(listener.unix_socket_group, key + ".unix_socket_group");
  }

  void check_socket_file(const std::string& path, const std::string& key) {
    if (path.starts_with('@')) return;  // in the abstract namespace
    struct stat file {};
    if (::lstat(path.c_str(), &file) == 0 && !S_ISSOCK(file.st_mode))
      return add(Fault::machine, key, "the file " + in_quotes(path) + " exists and is not a socket",
                 "Remove it, or choose another path.");
    const std::string directory = directory_of(path);
    if (const auto why = why_no_file_in(directory))
      add(Fault::machine, key,
          "no socket can be created in the directory " + in_quotes(directory) + ": " + *why,
          "Create the directory, and let the user of this process write to it.");
  }

  // If `address` includes several addresses (localhost), one that works is enough.
  void check_tcp_address(const SocketAddress& address, const std::string& key) {
    std::optional<Unbindable> found;
    for (const SocketAddress& each : address.each()) {
      if (has_inherited_socket(each)) return;
      auto unbindable = why_not_bound(each);
      if (!unbindable) return;
      if (!found) found = std::move(unbindable);
    }
    if (found)
      add(Fault::machine, key, address.text() + " cannot be listened on: " + found->message, found->hint);
  }

  struct Unbindable {
    std::string message;
    std::string hint;
  };
  // Tries to bind the address with a port that the system chooses, since another process may use the configured one.
  [[nodiscard]] static std::optional<Unbindable> why_not_bound(SocketAddress address) {
    if (address.port >= first_unprivileged_port()) address.port = 0;
    const auto kernel = kernel_address(address);
    if (!kernel)
      return Unbindable{"this machine has no such network interface", "Use the name of an interface."};
    const Descriptor socket(::socket(kernel->family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (socket.get() < 0)
      return Unbindable{"socket: " + system_error(), "Use an address of a family that this machine has."};
    const int on = 1;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (kernel->family() == AF_INET6) ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (::bind(socket.get(), kernel->get(), kernel->size) == 0 || errno == EADDRINUSE) return std::nullopt;
    const int error = errno;
    return Unbindable{"bind: " + std::string(std::strerror(error)), listen_hint(address, error)};
  }

  void check_group(const std::string& name, const std::string& key) {
    const auto group = group_id(name);
    if (!group)
      add(Fault::setting, key, "there is no group " + in_quotes(name), "Create it, or name another one.");
    else if (!may_give_to(*group))
      add(Fault::setting, key, "the user of this process is not a member of the group " + in_quotes(name),
          "Add the user to the group, or name another one.");
  }

  void check_upstream(const UpstreamConfig& upstream, const std::string& key) {
    const auto& command = upstream.password_command;
    if (command.empty() || command[0].empty() || command[0].find('%') != std::string::npos) return;
    if (const auto why = why_not_found(command[0]))
      add(Fault::setting, key + ".password_command", in_quotes(command[0]) + " cannot be run: " + *why,
          "Name a program that the user of this process may execute.");
  }

  void check_openssl() {
    if (const auto missing = tls::missing_algorithm(); !missing.empty())
      add(Fault::machine, "", "OpenSSL cannot be used, it has " + missing,
          "Check its configuration (openssl.cnf, OPENSSL_CONF) and its providers.");
  }

  // A process that starts with fewer descriptors would fail at a random place.
  void check_limits(const Config& config) {
    std::uint64_t required =
        kStartDescriptors + kDescriptorsOfIdleWorker * worker_count(config.limits, granted_cpus());
    for (const ListenerConfig& listener : config.listeners) required += listener.address.each().size();
    if (config.admin.address) required += kDescriptorsOfAdmin;
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < required)
      return add(Fault::machine, "",
                 "the limit of open files is " + std::to_string(limit.rlim_max) + ", and " +
                     std::to_string(required) + " are required to start",
                 "Raise the limit (ulimit -n, or LimitNOFILE of the service), or lower limits.workers.");
    check_relay(config.limits);
  }

  void check_relay(const LimitsConfig& limits) {
    if (limits.relay != RelayEngine::io_uring) return;
    std::vector<std::unique_ptr<Ring>> rings;  // one for each worker: all count against the same limits
    for (const unsigned workers = worker_count(limits, granted_cpus()); rings.size() < workers;) {
      auto ring = Ring::open();
      if (!ring)
        return add(Fault::machine, "limits.relay", "io_uring cannot be used: " + ring.error(), kRelayHint);
      rings.push_back(*std::move(ring));
    }
  }

  void check_audit_file(const std::string& path) {
    if (path.empty()) return;
    const auto complain = [&](const std::string& why) {
      add(Fault::setting, "audit.file", in_quotes(path) + " cannot be opened for writing: " + why,
          "Name a file that the user of this process may write.");
    };
    struct stat file {};
    if (::stat(path.c_str(), &file) == 0) {
      if (S_ISDIR(file.st_mode)) return complain(std::strerror(EISDIR));
      if (S_ISSOCK(file.st_mode)) return complain(std::strerror(ENXIO));
      if (!may_access(path, W_OK)) complain(system_error());
      return;
    }
    if (errno != ENOENT) return complain(system_error());
    if (const auto why = why_no_file_in(directory_of(target_of(path)))) complain(*why);
  }

  void check_audit_socket(const AuditConfig& audit) {
    if (auto error = socket_without_daemon(audit))
      add(Fault::machine, error->setting, std::move(error->message), std::move(error->hint));
  }

  // Returns the path at which a file would be created: the end of a chain of symbolic links.
  [[nodiscard]] static std::string target_of(const std::string& path) {
    constexpr int kMaxLinks = 40;  // the kernel's limit (path_resolution(7))
    std::filesystem::path target = path;
    std::error_code error;
    for (int links = 0; links < kMaxLinks && std::filesystem::is_symlink(target, error); ++links)
      target = target.parent_path() / std::filesystem::read_symlink(target, error);
    return target.string();
  }

  const ParsedConfig& parsed_;
  ConfigReport report_;
  bool is_setting_wrong_ = false;
};

}  // namespace

tl::expected<std::shared_ptr<const Snapshot>, Unprepared> prepare(const ParsedConfig& parsed,
                                                                  Occasion occasion) {
  auto snapshot = build_snapshot(parsed);
  MachineCheck machine(parsed);
  machine.run(occasion);
  if (snapshot && !machine.report().has_errors()) return *std::move(snapshot);
  const bool is_setting_wrong = !snapshot || machine.is_setting_wrong();
  Unprepared unprepared{.report = machine.report(),
                        .exit_code = is_setting_wrong ? kExitConfig : kExitUnavailable};
  if (snapshot)
    unprepared.report.add_warnings((*snapshot)->warnings);
  else
    unprepared.report.add(std::move(snapshot.error()));
  return tl::unexpected(std::move(unprepared));
}

unsigned worker_count(const LimitsConfig& limits, const GrantedCpus& granted) {
  return limits.workers != 0 ? limits.workers : std::min(granted.count(), kMaxWorkers);
}

std::optional<DescriptorShortage> descriptor_shortage(const Snapshot& snapshot, unsigned workers) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::nullopt;
  DescriptorShortage found{.limit = limit.rlim_max,
                           .wanted = 2 * snapshot.limits.max_sessions +
                                     snapshot.limits.max_unauthenticated_clients +
                                     kDescriptorsOfWorker * workers + kSpareDescriptors};
  for (const auto& [name, upstream] : snapshot.upstreams) found.wanted += upstream->config.preconnect;
  if (snapshot.admin.address) found.wanted += HttpListener::kMaxConnections;
  return found.limit < found.wanted ? std::optional(found) : std::nullopt;
}

}  // namespace pgveil::proxy
