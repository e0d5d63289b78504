#include "proxy/base/whole_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>

namespace pgveil::proxy {
namespace {

// A short name, so that each name that a file can have is also possible while it is written.
std::string temporary_name_for(const std::string& destination) {
  return (std::filesystem::path(destination).parent_path() / ".pgveil-XXXXXX").string();
}

// A new file beside its final place, which only our user may read. The destructor removes it, unless it was moved there.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& destination)
      : name_(temporary_name_for(destination)), file_(::mkostemp(name_.data(), O_CLOEXEC)) {}
  ~TemporaryFile() {
    if (file_.get() >= 0 && !is_moved_) ::unlink(name_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  [[nodiscard]] int descriptor() const { return file_.get(); }
  // Returns false with errno.
  [[nodiscard]] bool write(std::string_view content) const {
    while (!content.empty()) {
      const auto written = ::write(file_.get(), content.data(), content.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return false;
      content.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
  }
  [[nodiscard]] bool replace(const std::string& destination) {
    is_moved_ = ::rename(name_.c_str(), destination.c_str()) == 0;
    return is_moved_;
  }
  // Not every file system can rename without replacing; then a second name is made, and the first one removed.
  [[nodiscard]] bool move_to_new(const std::string& destination) {
    is_moved_ = ::renameat2(AT_FDCWD, name_.c_str(), AT_FDCWD, destination.c_str(), RENAME_NOREPLACE) == 0;
    if (is_moved_ || (errno != EINVAL && errno != ENOSYS)) return is_moved_;
    return ::link(name_.c_str(), destination.c_str()) == 0;
  }

 private:
  std::string name_;
  Descriptor file_;
  bool is_moved_ = false;
};

// So that the name of a new file is on the disk, too. Not every file system can do it, and the file itself is complete.
void sync_directory_of(const std::string& path) {
  const std::string directory = std::filesystem::path(path).parent_path().string();
  const Descriptor opened(
      ::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened.get() >= 0) ::fsync(opened.get());
}

}  // namespace

int create_whole_file(const std::string& path, std::string_view content, mode_t mode) {
  TemporaryFile file(path);
  if (file.descriptor() < 0 || !file.write(content) || ::fchmod(file.descriptor(), mode) != 0 ||
      ::fsync(file.descriptor()) != 0 || !file.move_to_new(path))
    return errno;
  sync_directory_of(path);
  return 0;
}

int replace_whole_file(const std::string& path, std::string_view content) {
  struct Freed {
    void operator()(char* text) const noexcept { std::free(text); }
  };
  const std::unique_ptr<char, Freed> resolved(::realpath(path.c_str(), nullptr));
  struct stat before {};
  if (!resolved || ::stat(resolved.get(), &before) != 0) return errno;
  const std::string destination = resolved.get();
  TemporaryFile file(destination);
  struct stat made {};
  if (file.descriptor() < 0 || !file.write(content) || ::fstat(file.descriptor(), &made) != 0) return errno;
  const bool is_same_owner = made.st_uid == before.st_uid && made.st_gid == before.st_gid;
  if (!is_same_owner && ::fchown(file.descriptor(), before.st_uid, before.st_gid) != 0) return errno;
  constexpr mode_t kPermissions = 07777;
  if (::fchmod(file.descriptor(), before.st_mode & kPermissions) != 0 || ::fsync(file.descriptor()) != 0 ||
      !file.replace(destination))
    return errno;
  sync_directory_of(destination);
  return 0;
}

tl::expected<DirectoryLock, int> DirectoryLock::try_acquire(const std::string& directory) {
  Descriptor opened(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened.get() < 0) return tl::unexpected(errno);
  while (::flock(opened.get(), LOCK_EX | LOCK_NB) != 0)
    if (errno != EINTR) return tl::unexpected(errno);
  return DirectoryLock(std::move(opened));
}

}  // namespace pgveil::proxy
