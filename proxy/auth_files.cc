#include "proxy/auth_files.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace pgveil::proxy {

namespace filesystem = std::filesystem;

tl::expected<std::string, AuthFiles::Error> AuthFiles::read(const std::string& path) const {
  std::error_code error;
  if (filesystem::is_directory(path, error)) return tl::unexpected(Error{false, "it is a directory"});
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return tl::unexpected(Error{errno == ENOENT, std::strerror(errno)});
  return std::string(std::istreambuf_iterator<char>(file), {});
}

tl::expected<std::vector<std::string>, AuthFiles::Error> AuthFiles::list(const std::string& directory) const {
  std::error_code error;
  std::vector<std::string> names;
  for (filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error))
    names.push_back(entry->path().filename());
  if (error) return tl::unexpected(Error{error == std::errc::no_such_file_or_directory, error.message()});
  return names;
}

}  // namespace pgveil::proxy
