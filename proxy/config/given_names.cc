#include "proxy/config/given_names.h"

#include <cctype>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "proxy/config/settings.h"

namespace pgveil::proxy {
namespace {

// What cannot be taken for anything but a key.
bool is_distinctive(std::string_view word) {
  if (word == "application_name") return false;  // a startup parameter
  return word.find('_') != std::string_view::npos || word.starts_with("ssl");
}

// The option or variable of the key `word`; the word itself if it is not a key, or has neither.
template <class Section>
std::string given_name(std::string_view word, std::span<const Setting<Section>> section, bool is_variable) {
  for (const auto& setting : section) {
    if (setting.key != word) continue;
    std::string name = is_variable || setting.flag().empty() ? setting.variable() : setting.flag();
    if (!name.empty()) return name;
  }
  return std::string(word);
}

std::string given_name(std::string_view word, std::string_view key, bool is_variable) {
  if (!is_distinctive(word)) return std::string(word);
  if (key.starts_with("listener[")) return given_name(word, listener_settings(), is_variable);
  if (key.starts_with("upstream.")) return given_name(word, upstream_settings(), is_variable);
  if (key.starts_with("limits.")) return given_name(word, limits_settings(), is_variable);
  if (key.starts_with("log.")) return given_name(word, log_settings(), is_variable);
  if (key.starts_with("audit.")) return given_name(word, audit_settings(), is_variable);
  if (key.starts_with("admin.")) return given_name(word, admin_settings(), is_variable);
  return given_name(word, reload_settings(), is_variable);
}

bool is_of_word(char byte) {
  return std::isalnum(static_cast<unsigned char>(byte)) != 0 || byte == '_' || byte == '-' || byte == '/';
}

std::string with_given_names(std::string_view text, std::string_view key, bool is_variable) {
  std::string result;
  bool is_quoted = false;
  while (!text.empty()) {
    std::size_t size = 0;
    while (size < text.size() && is_of_word(text[size])) ++size;
    const auto word = text.substr(0, size);
    result += is_quoted ? std::string(word) : given_name(word, key, is_variable);
    if (size < text.size()) {
      if (text[size] == '"') is_quoted = !is_quoted;
      result += text[size++];
    }
    text.remove_prefix(size);
  }
  return result;
}

}  // namespace

void name_as_given(ConfigErrors& errors) {
  for (auto& error : errors) {
    const bool is_variable = error.file.starts_with("PGVEIL_");
    if (!is_variable && !error.file.starts_with("--")) continue;
    error.message = with_given_names(error.message, error.key, is_variable);
    error.hint = with_given_names(error.hint, error.key, is_variable);
  }
}

}  // namespace pgveil::proxy
