#include "proxy/base/child_process.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <map>
#include <mutex>

#include "proxy/base/descriptor.h"

namespace pgveil::proxy {
namespace {

std::mutex mutex;                              // protects the next two variables
std::map<pid_t, std::optional<int>> statuses;  // of the children of start_child(); nullopt: not reaped yet
std::optional<rlimit> descriptor_limit;

// Runs in the child. Between fork() and exec only async-signal-safe functions may be called: at the time of the fork,
// another thread may have held any lock.
[[noreturn]] void become(const ChildProgram& program, const std::optional<rlimit>& limit, int report) {
  ::setsid();
  const int nothing = ::open("/dev/null", O_RDONLY);
  bool ready =
      nothing >= 0 && ::dup2(nothing, STDIN_FILENO) >= 0 && ::dup2(program.output, STDOUT_FILENO) >= 0;
  if (nothing > STDERR_FILENO) ::close(nothing);
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  if (limit) ready = ready && ::setrlimit(RLIMIT_NOFILE, &*limit) == 0;
  sigset_t none;
  sigemptyset(&none);
  ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
  if (ready) ::execvpe(program.arguments[0], program.arguments, program.environment);
  const int error = errno;
  static_cast<void>(!::write(report, &error, sizeof error));
  ::_exit(127);
}

// Forks with all signals blocked, so that no signal handler of this process runs in the child.
pid_t fork_without_signals(const ChildProgram& program, int report) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t child = ::fork();
  if (child == 0) become(program, descriptor_limit, report);
  const int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  return child;
}

// Returns the error that the child reports, as a number of errno.h. 0: the program runs.
int report_of_child(int report) {
  int error = 0;
  ssize_t size = 0;
  do {
    size = ::read(report, &error, sizeof error);
  } while (size < 0 && errno == EINTR);
  return size == sizeof error ? error : 0;
}

}  // namespace

void set_descriptor_limit_of_children(const rlimit& limit) {
  const std::lock_guard lock(mutex);
  descriptor_limit = limit;
}

// Uses fork() and exec directly, because libuv's uv_spawn() cannot set a limit in the child. If the limit of
// this process were lowered during the call, other threads could fail to accept clients.
tl::expected<pid_t, int> start_child(const ChildProgram& program) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return tl::unexpected(errno);
  const Descriptor report(ends[0]);
  Descriptor of_child(ends[1]);
  const std::lock_guard lock(mutex);
  // The place for the status is allocated before the fork: the allocation may fail.
  const auto place = statuses.emplace(-1, std::nullopt).first;
  const pid_t child = fork_without_signals(program, of_child.get());
  const int error = child < 0 ? errno : 0;
  auto node = statuses.extract(place);
  if (child < 0) return tl::unexpected(error);
  of_child = Descriptor(-1);  // so that the read ends once the child has closed its copy
  if (const int failure = report_of_child(report.get()); failure != 0) {
    ::waitpid(child, nullptr, 0);
    return tl::unexpected(failure);
  }
  node.key() = child;
  statuses.insert(std::move(node));
  return child;
}

std::optional<int> take_status_of_child(pid_t child) {
  const std::lock_guard lock(mutex);
  const auto found = statuses.find(child);
  if (found == statuses.end()) return std::nullopt;
  if (!found->second) {
    int status = 0;
    if (::waitpid(child, &status, WNOHANG) != child) return std::nullopt;
    found->second = status;
  }
  return statuses.extract(found).mapped();
}

void kill_group_of_child(pid_t child) {
  const std::lock_guard lock(mutex);
  const auto found = statuses.find(child);
  // After a child is reaped, its number may belong to another process.
  if (found != statuses.end() && !found->second) ::kill(-child, SIGKILL);
}

bool inherits_orphans() {
  int is_subreaper = 0;
  return ::getpid() == 1 || (::prctl(PR_GET_CHILD_SUBREAPER, &is_subreaper) == 0 && is_subreaper != 0);
}

void reap_children() {
  const std::lock_guard lock(mutex);
  int status = 0;
  for (pid_t child = 0; (child = ::waitpid(-1, &status, WNOHANG)) > 0;)
    if (const auto found = statuses.find(child); found != statuses.end()) found->second = status;
}

}  // namespace pgveil::proxy
