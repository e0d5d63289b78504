#include "proxy/server/reload_watch.h"

#include <chrono>
#include <new>
#include <utility>

#include "proxy/diagnostics/log.h"

namespace pgveil::proxy {
namespace {

// A program that renews a certificate writes several files, one after the other.
constexpr std::chrono::milliseconds kCollect{250};

}  // namespace

void ReloadWatch::watch(std::set<std::string> files) {
  files_ = std::move(files);
  renew();
}

void ReloadWatch::stop() {
  watch_.reset();
  collect_.clear();
  reloader_.forget_changes();
}

void ReloadWatch::wake() {
  collect_.clear();
  try {
    renew();
  } catch (const std::bad_alloc&) {
    collect_.set(kCollect);  // tries again
  }
}

// The watch comes first: what changes after the comparison is noticed.
void ReloadWatch::renew() {
  std::string failure;
  if (!watch_) {
    auto opened = FileWatch::open(loop_, [this] {
      if (!collect_.left()) collect_.set(kCollect);
    });
    if (opened)
      watch_ = *std::move(opened);
    else
      failure = std::move(opened).error();
  }
  if (watch_)
    for (const auto& [directory, reason] : watch_->set(files_))
      failure.append(failure.empty() ? "" : "; ").append(directory).append(": ").append(reason);
  if (failure != failure_ && !failure.empty())
    LogLine(LogLevel::warning, "watch_failed")
        .add("error", failure)
        .add(
            "hint",
            "Changes there are not noticed: send SIGHUP after a change. Raise fs.inotify.max_user_instances or "
            "fs.inotify.max_user_watches, or let the user of this process read the directory.");
  failure_ = std::move(failure);
  reloader_.request("file_watch", ReloadIf::changed);
}

}  // namespace pgveil::proxy
