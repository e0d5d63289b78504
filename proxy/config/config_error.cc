#include "proxy/config/config_error.h"

#include <utility>

#include "proxy/config/password_filter.h"

namespace pgveil::proxy {

std::string ConfigError::location() const {
  std::string text = file;
  if (line > 0) text += ':' + std::to_string(line);
  if (!text.empty()) text += ": ";
  // An option or a variable says already which setting it is.
  const bool names_setting = file.starts_with("--") || file.starts_with("PGVEIL_");
  if (!key.empty() && !names_setting) text += key + ": ";
  return text;
}

std::string ConfigError::text() const {
  std::string text = location() + message + '.';
  if (!hint.empty()) text += ' ' + hint;
  return values::without_passwords(text);
}

ConfigError value_error(std::string message, std::string hint) {
  return {"", 0, "", std::move(message), std::move(hint)};
}

ConfigErrors config_errors_of(const protocol::AuthFileErrors& errors, const std::string& key) {
  ConfigErrors result;
  for (const auto& error : errors) result.push_back({error.file, error.line, key, error.message, error.hint});
  return result;
}

}  // namespace pgveil::proxy
