#include "proxy/commands/command_words.h"

#include <CLI/CLI.hpp>
#include <string_view>
#include <utility>

#include "proxy/commands/arguments.h"
#include "proxy/commands/sessions.h"
#include "tls/certificate_authority.h"

namespace pgveil::proxy {
namespace {

using Words = std::vector<std::string>;

// "a", "b" and "c" of "a|b|c" and of "a, b or c".
Words words_in(std::string text) {
  for (const std::string_view separator : {", ", " or "})
    for (std::size_t at = 0; (at = text.find(separator)) != std::string::npos;)
      text.replace(at, separator.size(), "|");
  Words words;
  std::size_t begin = 0;
  for (std::size_t end = 0; end != std::string::npos; begin = end + 1) {
    end = text.find('|', begin);
    words.push_back(text.substr(begin, end == std::string::npos ? end : end - begin));
  }
  return words;
}

// The words that the table of settings allows for an option; empty: others, too.
Words words_of_setting(const std::string& flag) {
  std::string type;
  visit_settings([&](const char*, const auto& setting) {
    if (setting.flag() == flag) type = setting.type();
  });
  if (!type.starts_with('`')) return {};
  std::erase(type, '`');
  return words_in(type);
}

Words columns_of_sessions(const char* end) {
  Words words;
  for (const std::string_view key : session_keys()) words.push_back(std::string(key) + end);
  return words;
}

// The words that an option allows; empty: others, too.
Words fixed_words(const OptionWords& option) {
  if (option.type == "boolean") return {"true", "false"};
  if (option.type == "kind") return words_in(std::string(tls::kNewKeyNames));
  if (option.type == "key") return columns_of_sessions("");
  if (option.type == "key=pattern") return columns_of_sessions("=");
  if (option.type.find('|') != std::string::npos) return words_in(option.type);
  return words_of_setting(option.names.front());
}

ValueKind kind_of(const OptionWords& option) {
  if (!option.words.empty()) return ValueKind::word;
  if (option.type == "file" || option.type == "path") return ValueKind::file;
  return option.type == "directory" ? ValueKind::directory : ValueKind::text;
}

OptionWords words_of(const CLI::Option& option) {
  OptionWords words;
  words.type = option.get_type_name();
  words.effect = option.get_description();
  words.group = option.get_group();
  words.is_repeatable = option.get_items_expected_max() > 1 ||
                        option.get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll;
  if (option.get_positional()) {
    words.names.push_back(option.get_name(true, false));
    if (words.type.empty() && words.names.front() == "file") words.type = "file";
  }
  for (const std::string& name : option.get_lnames()) words.names.push_back("--" + name);
  for (const std::string& name : option.get_snames()) words.names.push_back("-" + name);
  if (option.get_items_expected_max() == 0) {
    words.type.clear();
    words.value = ValueKind::nothing;
    return words;
  }
  words.is_value_optional = option.get_expected_min() == 0;
  words.words = fixed_words(words);
  words.value = kind_of(words);
  return words;
}

}  // namespace

CommandWords words_of(const CLI::App& app) {
  CommandWords words;
  const CLI::App* parent = app.get_parent();
  const bool is_nested = parent != nullptr && parent->get_parent() != nullptr;
  if (parent != nullptr) words.name = (is_nested ? parent->get_name() + ' ' : "") + app.get_name();
  words.effect = app.get_description();
  for (const CLI::Option* option : app.get_options({}))
    (option->get_positional() ? words.arguments : words.options).push_back(words_of(*option));
  for (const CLI::App* command : app.get_subcommands({})) words.commands.push_back(words_of(*command));
  return words;
}

std::string_view last_word(const std::string& name) {
  return std::string_view(name).substr(name.rfind(' ') + 1);
}

}  // namespace pgveil::proxy
