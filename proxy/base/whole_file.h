// Files that are written whole or not at all, with their mode from the first byte on.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "proxy/base/descriptor.h"

namespace pgveil::proxy {

// Creates a file with this mode, whatever the umask is. Returns 0, or errno: EEXIST if there is something of this name, also a
// symbolic link to nothing. The content is on the disk when the function returns.
[[nodiscard]] int create_whole_file(const std::string& path, std::string_view content, mode_t mode);

// Replaces a file in one step, and keeps its owner, group and mode. A symbolic link stays, and the file that it names is
// replaced. Returns 0 or errno; after an error the file is as before.
[[nodiscard]] int replace_whole_file(const std::string& path, std::string_view content);

// The lock of a directory against other processes that use this class. It leaves no file behind, and ends with the process.
class DirectoryLock {
 public:
  // Does not wait. The error is errno: EWOULDBLOCK if another process has the lock.
  [[nodiscard]] static tl::expected<DirectoryLock, int> try_acquire(const std::string& directory);

 private:
  explicit DirectoryLock(Descriptor directory) : directory_(std::move(directory)) {}
  Descriptor directory_;
};

}  // namespace pgveil::proxy
