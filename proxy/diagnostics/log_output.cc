#include "proxy/diagnostics/log_output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "proxy/diagnostics/log.h"

namespace pgveil::proxy {
namespace {

// The maximum size of one write: a pipe holds as much, so that the writer notices progress.
constexpr std::size_t kMaxWrite = std::size_t{64} << 10U;

// open() must not wait for a reader of a FIFO, but write() must wait for room. On failure, errno has the reason.
Descriptor open_for_lines(const std::string& path) {
  constexpr int kFlags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC;
  constexpr mode_t kMode = 0640;  // less what umask says
  Descriptor file(::open(path.c_str(), kFlags | O_NONBLOCK, kMode));
  if (file.get() >= 0) ::fcntl(file.get(), F_SETFL, O_APPEND);
  return file;
}

// Returns the size of as many whole lines as one write may have. A line that is longer is written in pieces.
std::size_t size_of_write(std::string_view lines) {
  if (lines.size() <= kMaxWrite) return lines.size();
  const std::size_t last_end = lines.rfind('\n', kMaxWrite - 1);
  return last_end == std::string_view::npos ? kMaxWrite : last_end + 1;
}

// Returns whether the daemon at the other end of a socket is gone.
bool is_disconnected(int error) {
  return error == ECONNREFUSED || error == ENOTCONN || error == ECONNRESET || error == EPIPE ||
         error == EBADF || error == ENOENT;
}

bool send_parts(int socket, const std::array<iovec, 3>& parts) {
  msghdr message{};
  auto copy = parts;
  message.msg_iov = copy.data();
  message.msg_iovlen = copy.size();
  return ::sendmsg(socket, &message, MSG_NOSIGNAL) >= 0;
}

iovec part_of(std::string_view text) {
  return {.iov_base = const_cast<char*>(text.data()), .iov_len = text.size()};
}

// Returns a descriptor of a sealed file in memory, as the journal takes an entry that is too large for a datagram.
Descriptor sealed_file(const std::array<iovec, 3>& parts) {
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
  Descriptor file(::memfd_create("pgveil-journal", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (file.get() < 0) return file;
  std::size_t size = 0;
  for (const iovec& part : parts) size += part.iov_len;
  const ssize_t written = ::writev(file.get(), parts.data(), static_cast<int>(parts.size()));
  if (written >= 0 && written < static_cast<ssize_t>(size)) errno = ENOSPC;
  const bool is_whole = written == static_cast<ssize_t>(size);
  if (!is_whole || ::fcntl(file.get(), F_ADD_SEALS, kSeals) != 0) return Descriptor(-1);
  return file;
}

// Sends an empty datagram with a descriptor (unix(7), SCM_RIGHTS).
bool send_descriptor(int socket, int descriptor) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  return ::sendmsg(socket, &message, MSG_NOSIGNAL) >= 0;
}

// Returns the fields before the message of a journal entry, without an allocation. `priority` is that of RFC 5424: facility
// and severity.
std::string_view journal_fields(unsigned priority, std::array<char, 128>& buffer) {
  constexpr unsigned kSeverities = 8;
  const auto end = fmt::format_to_n(buffer.data(), buffer.size(),
                                    "SYSLOG_IDENTIFIER=pgveil\nSYSLOG_FACILITY={}\nPRIORITY={}\nMESSAGE=",
                                    priority / kSeverities, priority % kSeverities);
  return {buffer.data(), std::min(end.size, buffer.size())};
}

}  // namespace

ssize_t DescriptorOutput::write(std::string_view lines) {
  const ssize_t written = ::write(descriptor_, lines.data(), size_of_write(lines));
  // Another process that shares the descriptor may have made it non-blocking.
  if (written < 0 && errno == EAGAIN) {
    pollfd room{.fd = descriptor_, .events = POLLOUT, .revents = 0};
    ::poll(&room, 1, -1);
    errno = EINTR;
  }
  return written;
}

bool names_fifo(const std::string& path) {
  struct stat file {};
  return ::stat(path.c_str(), &file) == 0 && S_ISFIFO(file.st_mode);
}

OpenProblem describe_open_error(const std::string& path, int error) {
  const std::string message = '"' + path + "\" cannot be opened for writing: ";
  if (error == ENXIO && names_fifo(path))
    return {message + "no process reads the FIFO", "Start the program that reads it first."};
  return {message + std::strerror(error), "Name a file that the user of this process may write."};
}

std::unique_ptr<NamedFileOutput> NamedFileOutput::open(const std::string& path) {
  Descriptor file = open_for_lines(path);
  if (file.get() < 0) return nullptr;
  return std::unique_ptr<NamedFileOutput>(new NamedFileOutput(path, std::move(file)));
}

bool NamedFileOutput::prepare() {
  {
    const std::lock_guard lock(mutex_);
    const bool is_right = !was_moved() || reopen();
    const int error = errno;
    if (!is_right) report_failure(has_failed_);
    has_failed_ = !is_right;
    removed_error_ = !is_right && is_removed() ? error : 0;
  }
  return is_new_.exchange(false);
}

void NamedFileOutput::reopen_if_moved() {
  const std::lock_guard lock(mutex_);
  if (was_moved() && !reopen()) report_failure(false);
}

// A FIFO that was removed stays in use, because its reader stays, until its name is that of another one.
bool NamedFileOutput::was_moved() const {
  struct stat open {};
  struct stat named {};
  if (::fstat(file_.get(), &open) != 0 || !(S_ISREG(open.st_mode) || S_ISFIFO(open.st_mode))) return false;
  if (::stat(path_.c_str(), &named) != 0) return errno == ENOENT && S_ISREG(open.st_mode);
  if (!S_ISREG(named.st_mode) && !S_ISFIFO(named.st_mode)) return false;
  return named.st_ino != open.st_ino || named.st_dev != open.st_dev;
}

// The number of the descriptor stays, since the thread of the writer uses it at any time. On failure, errno has the reason.
bool NamedFileOutput::reopen() {
  const Descriptor opened = open_for_lines(path_);
  if (opened.get() < 0 || ::dup3(opened.get(), file_.get(), O_CLOEXEC) < 0) return false;
  is_new_ = true;
  return true;
}

void NamedFileOutput::report_failure(bool is_repeated) {
  const int error = errno;
  if (is_repeated) return;
  try {
    LogLine(LogLevel::error, "audit_file_not_opened")
        .add("file", path_)
        .add("error", std::strerror(error))
        .add("hint", describe_open_error(path_, error).hint +
                         " Until then, records go to the file that is open, unless it was removed.");
  } catch (const std::bad_alloc&) {
    return;  // there is no memory for the line
  }
}

// What is written to a file without a name is gone once the process ends.
ssize_t NamedFileOutput::write(std::string_view lines) {
  if (removed_error_ == 0) return output_.write(lines);
  errno = removed_error_;
  return -1;
}

bool NamedFileOutput::is_removed() const {
  struct stat open {};
  return ::fstat(file_.get(), &open) == 0 && S_ISREG(open.st_mode) && open.st_nlink == 0;
}

ssize_t DatagramOutput::write(std::string_view lines) {
  const std::string_view line = lines.substr(0, lines.find('\n'));
  if (socket_.get() >= 0 && send_line(line)) return static_cast<ssize_t>(line.size() + 1);
  if (socket_.get() >= 0 && !is_disconnected(errno)) return -1;
  socket_ = connect_to_log_daemon(path_);
  if (socket_.get() < 0 || !send_line(line)) return -1;
  return static_cast<ssize_t>(line.size() + 1);
}

bool DatagramOutput::send_line(std::string_view line) {
  return ::send(socket_.get(), line.data(), line.size(), MSG_NOSIGNAL) >= 0;
}

// The journal reads "<86>..." only in lines of the syslog protocol.
bool JournalOutput::send_line(std::string_view line) {
  const auto end = line.find('>');
  std::array<char, 128> buffer{};
  const auto fields =
      journal_fields(static_cast<unsigned>(std::strtoul(line.data() + 1, nullptr, 10)), buffer);
  const std::array parts{part_of(fields), part_of(line.substr(end + 1)), part_of("\n")};
  if (send_parts(descriptor(), parts)) return true;
  if (errno != EMSGSIZE && errno != ENOBUFS) return false;
  const Descriptor file = sealed_file(parts);
  return file.get() >= 0 && send_descriptor(descriptor(), file.get());
}

Descriptor connect_to_log_daemon(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return Descriptor(-1);
  }
  path.copy(address.sun_path, path.size());
  Descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return socket;
  const auto* const general = reinterpret_cast<const sockaddr*>(&address);
  if (::connect(socket.get(), general, sizeof address) == 0) return socket;
  const int error = errno;
  socket = Descriptor(-1);
  errno = error;
  return socket;
}

}  // namespace pgveil::proxy
