// The hint about a file that cannot be opened or read.
#pragma once

#include <sys/types.h>

#include <string>

namespace pgveil::tls {

// Returns what to do about the file or directory `path`, which cannot be opened or read because of `error`, an errno:
// one or more sentences. For a relative path they name the directory in which it was searched. If access is denied, they
// name the user that needs it.
[[nodiscard]] std::string file_hint(const std::string& path, int error);

// The same hint for given values, for tests.
struct DeniedFile {
  std::string path;  // the file or directory itself, or the directory above it that may not be entered
  bool is_directory;
  bool is_above;  // `path` is a directory above
  std::string owner;
  std::string group;
  mode_t mode;
};
struct FileUser {
  std::string name;  // empty: the user has no name
  uid_t id;
  gid_t group_id;
  bool is_in_kubernetes;
};
[[nodiscard]] std::string access_hint(const DeniedFile& file, const FileUser& user);

}  // namespace pgveil::tls
