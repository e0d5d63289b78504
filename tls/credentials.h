// Our own certificate chain and private key: loaded once, checked as PostgreSQL and libpq check them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

struct stat;

namespace pgveil::tls {

// A mistake in the settings that a context is built from: which setting, what is wrong, what to do. A struct of this layer's
// own, as it knows nothing of files and sections: proxy/snapshot makes a ConfigError of it.
struct SettingMistake {
  std::string setting;   // "sslkey"
  std::string problem;   // `private key file "/etc/pgveil/client.key" has group or world access`
  std::string remedy;    // `chmod 0600 /etc/pgveil/client.key, or 0640 if it is owned by root`
  int certificate = -1;  // which of ServerSettings::certificates it is about; -1: none of them
};
// A file or a value in what a mistake says.
[[nodiscard]] std::string in_quotes(std::string_view text);

// Who judges a key file's mode.
enum class KeyFileRule {
  libpq,   // a regular file; 0640 or less if root owns it, else 0600 or less
           // (fe-secure-openssl.c:initialize_SSL)
  server,  // the same, and owned by us or root (be-secure-common.c:check_ssl_key_file_permissions)
};
// Of the file `path` once it is open: `file` is what fstat() returned.
[[nodiscard]] std::optional<SettingMistake> check_key_file(const struct stat& file, const std::string& path,
                                                           std::string_view setting, KeyFileRule rule);

}  // namespace pgveil::tls
