// Notices changes of files and directories by inotify(7).
#pragma once

#include <uv.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tl/expected.hpp>

#include "proxy/base/descriptor.h"
#include "proxy/base/handle.h"

namespace pgveil::proxy {

class FileWatch {
 public:
  // `on_change` is called on the loop after a change. Returns the error of the system if it has no inotify instance left.
  [[nodiscard]] static tl::expected<std::unique_ptr<FileWatch>, std::string> open(
      uv_loop_t* loop, std::function<void()> on_change);
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

  // Watches these paths, and no longer others. A path may be relative, and may not exist. A change is: another file has
  // the name, also because a symbolic link or a directory in the path was replaced; the file was written and closed; its
  // mode changed. Of a directory also: an entry was added, removed, or written. The watch follows symbolic links as they
  // are now, so this function must be called again after each change. Returns the directories that cannot be watched, with the
  // reason; changes in them are not noticed.
  [[nodiscard]] std::map<std::string, std::string> set(const std::set<std::string>& paths);

 private:
  // The entries of a directory whose changes count.
  struct Interest {
    std::set<std::string> names;
    bool all = false;
  };
  using Interests =
      std::map<std::filesystem::path, Interest>;  // by the directory; its path has no symbolic links

  static void add_interests(const std::filesystem::path& path, int links, Interests& interests);
  FileWatch(Descriptor inotify, std::function<void()> on_change);
  void on_readable();
  [[nodiscard]] bool is_relevant(int watch, std::uint32_t mask, const std::string& name) const;

  const Descriptor inotify_;
  std::function<void()> on_change_;
  Handle<uv_poll_t> poll_;
  std::map<int, Interest> watches_;  // by inotify's watch descriptor
};

}  // namespace pgveil::proxy
