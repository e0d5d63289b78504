#include "proxy/access/rule_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "proxy/base/descriptor.h"
#include "tls/file_hint.h"

namespace pgveil::proxy {

namespace filesystem = std::filesystem;

namespace {

AuthFiles::Error error_of(const std::string& path, int number) {
  return {number == ENOENT, std::strerror(number), tls::file_hint(path, number)};
}

}  // namespace

// Opened once, so that what is known to be no directory is what is read.
tl::expected<std::string, AuthFiles::Error> AuthFiles::read(const std::string& path) const {
  paths_.insert(path);
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0) return tl::unexpected(error_of(path, errno));
  if (S_ISDIR(status.st_mode)) return tl::unexpected(error_of(path, EISDIR));
  std::string text;
  std::array<char, 16'384> part{};
  for (;;) {
    const auto size = ::read(file.get(), part.data(), part.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return tl::unexpected(error_of(path, errno));
    if (size == 0) return text;
    text.append(part.data(), static_cast<std::size_t>(size));
  }
}

tl::expected<std::vector<std::string>, AuthFiles::Error> AuthFiles::list(const std::string& directory) const {
  paths_.insert(directory);
  std::error_code error;
  std::vector<std::string> names;
  for (filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error))
    names.push_back(entry->path().filename());
  if (error) return tl::unexpected(error_of(directory, error.value()));
  return names;
}

}  // namespace pgveil::proxy
