#include "proxy/base/file_watch.h"

#include <sys/inotify.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <utility>

namespace pgveil::proxy {
namespace {

namespace filesystem = std::filesystem;

constexpr std::uint32_t kOfDirectory = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |
                                       IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;
// Of an entry in a directory that this process may not read, but may enter.
constexpr std::uint32_t kOfEntry = IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;
constexpr int kMaxLinks = 40;  // the kernel's limit (path_resolution(7))

}  // namespace

tl::expected<std::unique_ptr<FileWatch>, std::string> FileWatch::open(uv_loop_t* loop,
                                                                      std::function<void()> on_change) {
  Descriptor inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (inotify.get() < 0) return tl::unexpected(std::string("inotify_init1: ") + std::strerror(errno));
  std::unique_ptr<FileWatch> watch(new FileWatch(std::move(inotify), std::move(on_change)));
  auto poll = std::make_unique<uv_poll_t>();
  if (const int status = uv_poll_init(loop, poll.get(), watch->inotify_.get()); status != 0)
    return tl::unexpected(std::string("epoll_ctl: ") + uv_strerror(status));
  watch->poll_.reset(poll.release());
  watch->poll_->data = watch.get();
  uv_poll_start(watch->poll_.get(), UV_READABLE, [](uv_poll_t* handle, int /*status*/, int /*events*/) {
    static_cast<FileWatch*>(handle->data)->on_readable();
  });
  return watch;
}

FileWatch::FileWatch(Descriptor inotify, std::function<void()> on_change)
    : inotify_(std::move(inotify)), on_change_(std::move(on_change)) {}

// Adds each directory that has an entry on the way to the file that `path` names now.
void FileWatch::add_interests(const filesystem::path& path, int links, Interests& interests) {
  filesystem::path at("/");
  const auto relative = path.relative_path();
  for (auto part = relative.begin(); part != relative.end(); ++part) {
    if (part->empty() || *part == ".") continue;
    if (*part == "..") {
      at = at.parent_path();
      continue;
    }
    interests[at].names.insert(*part);
    std::error_code error;
    const filesystem::path next = at / *part;
    const auto status = filesystem::symlink_status(next, error);
    if (error || status.type() == filesystem::file_type::not_found) return;
    if (status.type() == filesystem::file_type::symlink) {
      filesystem::path target =
          at / filesystem::read_symlink(next, error);  // `at` is left out if it is absolute
      while (++part != relative.end()) target /= *part;
      if (!error && links < kMaxLinks) add_interests(target, links + 1, interests);
      return;
    }
    at = next;
  }
  std::error_code error;
  if (filesystem::is_directory(at, error)) interests[at].all = true;
}

std::map<std::string, std::string> FileWatch::set(const std::set<std::string>& paths) {
  Interests interests;
  std::error_code error;
  const auto here = filesystem::current_path(error);
  for (const std::string& path : paths) add_interests(here / path, 0, interests);

  std::map<int, Interest> watches;
  std::map<std::string, std::string> failures;
  const auto add = [&](const filesystem::path& path, std::uint32_t mask, const Interest& interest) {
    const int watch = ::inotify_add_watch(inotify_.get(), path.c_str(), mask);
    if (watch < 0) return false;
    Interest& all = watches[watch];
    all.names.insert(interest.names.begin(), interest.names.end());
    all.all = all.all || interest.all;
    return true;
  };
  for (const auto& [directory, interest] : interests) {
    if (add(directory, kOfDirectory | IN_ONLYDIR, interest)) continue;
    const int reason = errno;
    if (reason == ENOENT || reason == ENOTDIR) continue;  // changed since; set() will be called again
    const bool watches_entries =
        reason == EACCES && !interest.all &&
        std::ranges::all_of(interest.names, [&, &at = directory](const std::string& name) {
          return add(at / name, kOfEntry | IN_MASK_ADD, {{}, true});
        });
    if (!watches_entries) failures.emplace(directory, std::strerror(reason));
  }
  for (const auto& [watch, interest] : watches_)
    if (!watches.contains(watch)) ::inotify_rm_watch(inotify_.get(), watch);
  watches_ = std::move(watches);
  return failures;
}

void FileWatch::on_readable() {
  alignas(inotify_event) std::array<char, 16'384> buffer{};
  bool is_changed = false;
  for (;;) {
    const ssize_t size = ::read(inotify_.get(), buffer.data(), buffer.size());
    if (size <= 0) break;
    for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      at += sizeof event;
      const std::string name(buffer.data() + at, ::strnlen(buffer.data() + at, event.len));
      at += event.len;
      is_changed = is_changed || is_relevant(event.wd, event.mask, name);
    }
  }
  if (is_changed) on_change_();
}

bool FileWatch::is_relevant(int watch, std::uint32_t mask, const std::string& name) const {
  if ((mask & IN_Q_OVERFLOW) != 0) return true;  // the kernel has dropped events
  const auto found = watches_.find(watch);
  if (found == watches_.end()) return false;
  return name.empty() || found->second.all || found->second.names.contains(name);
}

}  // namespace pgveil::proxy
