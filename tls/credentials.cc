#include "tls/credentials.h"

#include <sys/stat.h>
#include <unistd.h>

namespace pgveil::tls {

std::string in_quotes(std::string_view text) {
  return "\"" + std::string(text) + "\"";
}

std::optional<SettingError> check_key_file(const struct stat& file, const std::string& path,
                                           std::string_view setting, KeyFileRule rule) {
  const auto setting_error = [&](std::string message, std::string hint) {
    return SettingError{std::string(setting), std::move(message), std::move(hint)};
  };
  const std::string key_file = "private key file " + in_quotes(path);
  if (S_ISDIR(file.st_mode))
    return setting_error(key_file + " is a directory", "Name a file in this directory.");
  if (!S_ISREG(file.st_mode)) return setting_error(key_file + " is not a regular file", "Name a file.");
  if (rule == KeyFileRule::server && file.st_uid != ::geteuid() && file.st_uid != 0)
    return setting_error(key_file + " must be owned by the user of this process or root",
                         "Change the owner of the file with chown.");
  // A file that root owns may be readable by a group, so that the system's certificate managers can share it.
  const bool too_open = file.st_uid == 0 ? (file.st_mode & (S_IWGRP | S_IXGRP | S_IRWXO)) != 0
                                         : (file.st_mode & (S_IRWXG | S_IRWXO)) != 0;
  if (too_open)
    return setting_error(key_file + " has group or world access",
                         "Set the mode of the file to 0600, or to 0640 if root owns it.");
  return std::nullopt;
}

}  // namespace pgveil::tls
