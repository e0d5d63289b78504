#include "proxy/credentials/secret_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "protocol/auth_file.h"
#include "proxy/base/descriptor.h"
#include "tls/file_hint.h"

namespace pgveil::proxy {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{64} << 20;

// Owned by us or root, and nobody else's to read (be-secure-common.c: check_ssl_key_file_permissions).
bool is_open_to_others(const struct stat& file) {
  if (file.st_uid == 0) return (file.st_mode & (S_IWGRP | S_IXGRP | S_IRWXO)) != 0;
  return (file.st_mode & (S_IRWXG | S_IRWXO)) != 0;
}

}  // namespace

std::optional<AccessFault> find_access_fault(const struct stat& file, const std::string& content) {
  if (file.st_uid != ::geteuid() && file.st_uid != 0)
    return AccessFault{"must be owned by the user of this process or root",
                       "Change the owner of the file with chown."};
  if (is_open_to_others(file))
    return AccessFault{"holds " + content + " and has group or world access",
                       "Set the mode of the file to 0600, or to 0640 if root owns it."};
  return std::nullopt;
}

tl::expected<protocol::SecretText, ConfigError> read_secret_file(const std::string& path,
                                                                 const std::string& key,
                                                                 const SourceLocations& locations) {
  const auto error = [&](const std::string& message, std::string hint) {
    return tl::unexpected(
        locations.error_at(key, protocol::in_quotes(path) + ' ' + message, std::move(hint)));
  };
  const auto unreadable = [&] {
    const int number = errno;
    return error(std::string("cannot be read: ") + std::strerror(number), tls::file_hint(path, number));
  };
  // Not blocked by what turns out to be a FIFO.
  const Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat file {};
  if (descriptor.get() < 0 || ::fstat(descriptor.get(), &file) != 0) return unreadable();
  if (S_ISDIR(file.st_mode)) return error("is a directory", tls::file_hint(path, EISDIR));
  if (!S_ISREG(file.st_mode)) return error("is not a regular file", "Name a file.");
  if (const auto fault = find_access_fault(file, "passwords")) return error(fault->message, fault->hint);
  if (static_cast<std::size_t>(file.st_size) > kMaxBytes)
    return error("is larger than 64 MiB", "Name the file that holds the passwords.");

  std::vector<char> content(static_cast<std::size_t>(file.st_size));
  std::size_t size = 0;
  while (size < content.size()) {
    const auto got = ::read(descriptor.get(), content.data() + size, content.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      protocol::wipe_secret(content);
      return unreadable();
    }
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  protocol::SecretText text(std::string_view(content.data(), size));
  protocol::wipe_secret(content);
  return text;
}

}  // namespace pgveil::proxy
