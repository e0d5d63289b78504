// Files of several owners, and a process that checks them as the user that the test needs.
#pragma once

#include <grp.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>

namespace pgveil::test {

enum class Owner { root, us, stranger };
inline constexpr uid_t kAnotherUser = 65'534;

// Returns what `judge` returns in a child process that runs as `user`.
inline std::string run_as(uid_t user, const std::function<std::string()>& judge) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) throw std::runtime_error("pipe");
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork");
  if (child == 0) {
    const bool changed = ::setgroups(0, nullptr) == 0 && ::setresgid(user, user, user) == 0 &&
                         ::setresuid(user, user, user) == 0;
    const std::string text = changed ? judge() : "the user could not be changed";
    const bool is_written = ::write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
    ::_exit(is_written ? EXIT_SUCCESS : EXIT_FAILURE);
  }
  ::close(ends[1]);
  std::string text;
  std::array<char, 4096> part{};
  for (ssize_t size = 0; (size = ::read(ends[0], part.data(), part.size())) > 0;)
    text.append(part.data(), static_cast<std::size_t>(size));
  ::close(ends[0]);
  int status = 0;
  if (::waitpid(child, &status, 0) != child || status != 0) throw std::runtime_error("the child has failed");
  return text;
}

// Changes the owner of `file` to `owner`, and returns the result of `judge`. For Owner::root and
// Owner::stranger, `judge` runs as root; for Owner::us, it runs as the file's owner, who is another user.
// nullopt: this process is not root, and cannot create a file of that owner.
inline std::optional<std::string> check_file_of(Owner owner, const std::string& file,
                                                const std::function<std::string()>& judge) {
  const bool is_root = ::geteuid() == 0;
  if (!is_root) return owner == Owner::us ? std::optional(judge()) : std::nullopt;
  const uid_t user = owner == Owner::root ? 0 : kAnotherUser;
  if (::chown(file.c_str(), user, static_cast<gid_t>(-1)) != 0) throw std::runtime_error("chown " + file);
  if (owner != Owner::us) return judge();
  using std::filesystem::perms;
  std::filesystem::permissions(std::filesystem::path(file).parent_path(),
                               perms::owner_all | perms::group_exec | perms::others_exec);
  return run_as(kAnotherUser, judge);
}

}  // namespace pgveil::test
