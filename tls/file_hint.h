// What to do about a file that cannot be opened or read, whatever it is for.
#pragma once

#include <sys/types.h>

#include <string>

namespace pgveil::tls {

// What to do about the file `path`, which cannot be opened or read because of `error`, an errno: one or more
// sentences. Of a relative path they name the directory in which it was searched; if access is denied, the user that
// needs it.
[[nodiscard]] std::string file_hint(const std::string& path, int error);

// The same of values, for tests.
struct DeniedFile {
  std::string path;  // the file, or the directory above it that may not be entered
  bool is_directory;
  std::string owner;
  std::string group;
  mode_t mode;
};
struct FileUser {
  std::string name;  // empty: the system has none
  uid_t id;
  gid_t group_id;
  bool is_in_kubernetes;
};
[[nodiscard]] std::string access_hint(const DeniedFile& file, const FileUser& user);

}  // namespace pgveil::tls
