#include "tls/file_hint.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <system_error>

#include "tls/credentials.h"

namespace pgveil::tls {
namespace {

namespace filesystem = std::filesystem;

constexpr std::size_t kMaxEntryBytes = 16'384;  // of the entry of a user, or of a group with its members

std::string user_name(uid_t id) {
  std::array<char, kMaxEntryBytes> memory{};
  passwd entry{};
  passwd* found = nullptr;
  ::getpwuid_r(id, &entry, memory.data(), memory.size(), &found);
  return found == nullptr ? "" : found->pw_name;
}

std::string group_name(gid_t id) {
  std::array<char, kMaxEntryBytes> memory{};
  group entry{};
  group* found = nullptr;
  ::getgrgid_r(id, &entry, memory.data(), memory.size(), &found);
  return found == nullptr ? "" : found->gr_name;
}

// Returns for example `"pgveil" (uid 999)`, or `of uid 999` if there is no name.
std::string shown(const std::string& name, const char* kind, unsigned id) {
  const std::string number = std::string(kind).append(1, ' ').append(std::to_string(id));
  return name.empty() ? "of " + number : in_quotes(name) + " (" + number + ')';
}

std::string octal(mode_t mode) {
  std::string text = "0";
  for (const unsigned shift : {6U, 3U, 0U}) text += static_cast<char>('0' + (mode >> shift & 7U));
  return text;
}

FileUser user_of_process() {
  return {user_name(::geteuid()), ::geteuid(), ::getegid(),
          std::getenv("KUBERNETES_SERVICE_HOST") != nullptr};
}

std::string absolute(const std::string& path) {
  std::error_code error;
  const auto whole = filesystem::absolute(path, error);
  if (error) return path;
  const std::string text = whole.lexically_normal().string();
  return text.size() > 1 && text.ends_with('/') ? text.substr(0, text.size() - 1) : text;
}

// Returns the first directory above `path`, from the root on, for which `is_it` is true.
template <class Predicate>
std::optional<std::string> directory_above(const std::string& path, const Predicate& is_it) {
  filesystem::path directory;
  for (const auto& part : filesystem::path(absolute(path)).parent_path()) {
    directory /= part;
    if (is_it(directory.c_str())) return directory.string();
  }
  return std::nullopt;
}

std::optional<DeniedFile> denied_file(const std::string& path) {
  const auto directory = directory_above(path, [](const char* above) {
    return ::faccessat(AT_FDCWD, above, X_OK, AT_EACCESS) != 0 && errno == EACCES;
  });
  const std::string denied = directory.value_or(absolute(path));
  struct stat file {};
  if (::stat(denied.c_str(), &file) != 0) return std::nullopt;
  return DeniedFile{denied,
                    S_ISDIR(file.st_mode),
                    directory.has_value(),
                    shown(user_name(file.st_uid), "uid", file.st_uid),
                    shown(group_name(file.st_gid), "gid", file.st_gid),
                    file.st_mode};
}

// Does not repeat a relative path: it may be anything, such as a connection string with a password.
std::string missing_hint(const std::string& path) {
  if (filesystem::path(path).is_relative())
    return "The path is relative; it was searched in the working directory " + in_quotes(absolute(".")) +
           ". Check the path.";
  const auto directory =
      directory_above(path, [](const char* above) { return ::access(above, F_OK) != 0 && errno == ENOENT; });
  const std::string hint = directory ? "The directory " + in_quotes(*directory) + " does not exist. " : "";
  return hint + "Check the path.";
}

}  // namespace

std::string access_hint(const DeniedFile& file, const FileUser& user) {
  const char* access = file.is_above       ? " enter the directory "
                       : file.is_directory ? " read the directory "
                                           : " read the file ";
  std::string hint = "Let the user " + shown(user.name, "uid", user.id) + access + in_quotes(file.path) +
                     ", which belongs to user " + file.owner + " and group " + file.group + ", with mode " +
                     octal(file.mode) + '.';
  if (user.is_in_kubernetes)
    hint += " In Kubernetes, set securityContext.fsGroup of the pod to the group of this process, " +
            std::to_string(user.group_id) + '.';
  return hint;
}

std::string file_hint(const std::string& path, int error) {
  if (error == EISDIR) return "Name a file in this directory.";
  if (error == ENOENT || error == ENOTDIR) return missing_hint(path);
  if (error == EACCES || error == EPERM)
    if (const auto file = denied_file(path)) return access_hint(*file, user_of_process());
  return "Check the path, and that the user of this process may read the file.";
}

}  // namespace pgveil::tls
