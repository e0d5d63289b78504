// Errors in the settings of a context, and the check of a private key file as PostgreSQL and libpq do it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

struct stat;

namespace pgveil::tls {

// An error in the settings that a context is built from: which setting, what is wrong, what to do. A struct of this layer's
// own, as it knows nothing of files and sections: proxy/snapshot makes a ConfigError of it.
struct SettingError {
  std::string setting;   // "sslkey"
  std::string message;   // `private key file "/etc/pgveil/client.key" has group or world access`
  std::string hint;      // `Set the mode of the file to 0600, or to 0640 if root owns it.`
  int certificate = -1;  // index in ServerSettings::certificates; -1: the error concerns none of them
};
// Returns `text` in quotes: a file name or a value in the text of an error.
[[nodiscard]] std::string in_quotes(std::string_view text);

// Which program's rules apply to the mode of a key file.
enum class KeyFileRule {
  libpq,   // a regular file; 0640 or less if root owns it, otherwise 0600 or less
           // (fe-secure-openssl.c:initialize_SSL)
  server,  // the same, owned by our user or root (be-secure-common.c:check_ssl_key_file_permissions)
};
// Checks the owner and mode of the open file `path`. `file` is the result of fstat().
[[nodiscard]] std::optional<SettingError> check_key_file(const struct stat& file, const std::string& path,
                                                         std::string_view setting, KeyFileRule rule);

}  // namespace pgveil::tls
