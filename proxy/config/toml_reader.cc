#include "proxy/config/toml_reader.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "proxy/config/config_error.h"
#include "proxy/config/password_filter.h"
#include "proxy/config/toml_hint.h"
#include "tls/digest.h"

namespace pgveil::proxy {
namespace {

using values::in_quotes;
using values::RawValue;

constexpr std::string_view kCertificates = "certificate";

SourceLocations::Place place_of(const std::string& file, const toml::source_region& source) {
  return {file, static_cast<int>(source.begin.line)};
}

RawValue raw_value(const toml::node& node) {
  using Kind = RawValue::Kind;
  if (const auto* text = node.as_string()) return {Kind::text, text->get()};
  if (const auto* integer = node.as_integer()) return {Kind::integer, std::to_string(integer->get())};
  if (const auto* boolean = node.as_boolean()) return {Kind::boolean, boolean->get() ? "true" : "false"};
  if (const auto* array = node.as_array()) {
    RawValue list{Kind::list, ""};
    for (const auto& element : *array) {
      const auto* text = element.as_string();
      if (text == nullptr) return {Kind::other, ""};
      list.items.push_back(text->get());
    }
    return list;
  }
  return {Kind::other, ""};
}

// TOML leaves out a line break right after the opening quotes: the text then begins one line below.
int first_line_of(std::string_view text, const toml::source_region& source) {
  const auto breaks = static_cast<toml::source_index>(std::count(text.begin(), text.end(), '\n'));
  const bool begins_below = source.end.line - source.begin.line > breaks;
  return static_cast<int>(source.begin.line) + (begins_below ? 1 : 0);
}

template <class Section>
bool has_key(std::span<const Setting<Section>> settings, std::string_view key) {
  return std::ranges::any_of(settings, [key](const auto& setting) { return setting.key == key; });
}

// The section that a key belongs in; empty: none.
std::string_view section_with(std::string_view key) {
  if (has_key(listener_settings(), key)) return "a [[listener]]";
  if (has_key(upstream_settings(), key)) return "an [upstream.NAME]";
  if (has_key(limits_settings(), key)) return "[limits]";
  if (has_key(log_settings(), key)) return "[log]";
  if (has_key(audit_settings(), key)) return "[audit]";
  if (has_key(reload_settings(), key)) return "[reload]";
  if (has_key(admin_settings(), key)) return "[admin]";
  return has_key(certificate_settings(), key) ? "a [[listener.certificate]]" : "";
}

class TomlReader {
 public:
  TomlReader(const std::string& file, ConfigBuilder& builder) : file_(file), builder_(builder) {}

  void read(toml::table& root) {
    for (auto&& [key, node] : root) {
      if (key == "listener")
        read_listeners(node);
      else if (key == "upstream")
        read_upstreams(node);
      else if (key == "limits")
        read_single("limits", node, limits_settings(), builder_.limits);
      else if (key == "log")
        read_single("log", node, log_settings(), builder_.log);
      else if (key == "audit")
        read_single("audit", node, audit_settings(), builder_.audit);
      else if (key == "reload")
        read_single("reload", node, reload_settings(), builder_.reload);
      else if (key == "admin")
        read_single("admin", node, admin_settings(), builder_.admin);
      else
        complain_unknown(key, "", {"listener", "upstream", "limits", "log", "audit", "reload", "admin"});
    }
    for (const auto& [key, hint] : {std::pair{"listener", "Add [[listener]] with address and upstream."},
                                    std::pair{"upstream", "Add [upstream.NAME] with host."}})
      if (!root.contains(key)) builder_.add({file_, 0, key, "is missing", hint});
  }

 private:
  void read_listeners(toml::node& node) {
    auto* array = node.as_array();
    if (array == nullptr || (!array->empty() && !array->is_array_of_tables()) || array->empty()) {
      complain(node, "listener", "must be an array of tables",
               "Write [[listener]] before the keys of each listener.");
      return;
    }
    for (auto& element : *array) {
      auto& table = *element.as_table();
      auto& section = builder_.add_listener(place_of(file_, element.source()));
      read_section(table, listener_settings(), section, {kCertificates});
      if (auto* certificates = table.get(kCertificates)) read_certificates(*certificates, section);
    }
  }

  void read_certificates(toml::node& node, const SectionBuilder<ListenerConfig>& listener) {
    auto* array = node.as_array();
    if (array == nullptr || !array->is_array_of_tables()) {
      complain(node, listener.key_of(kCertificates), "must be an array of tables",
               "Write [[listener.certificate]] before the keys of each certificate.");
      return;
    }
    for (auto& element : *array) {
      auto& section = builder_.add_certificate(listener, place_of(file_, element.source()));
      read_section(*element.as_table(), certificate_settings(), section);
    }
  }

  void read_upstreams(toml::node& node) {
    auto* upstreams = node.as_table();
    if (const auto* array = node.as_array(); array != nullptr && array->is_array_of_tables()) {
      complain(node, "upstream", "[[upstream]] must be written as [upstream.NAME]",
               "Write [upstream.NAME] with a name of your choice, such as [upstream.primary].");
      return;
    }
    if (upstreams == nullptr || upstreams->empty()) {
      complain(node, "upstream", "must be a table of upstreams",
               "Write [upstream.NAME] before the keys of each upstream.");
      return;
    }
    for (auto&& [key, upstream] : *upstreams) {
      const std::string name(key.str());
      if (auto* table = upstream.as_table(); table != nullptr && has_only_tables(*table)) {
        read_dotted(name, *table);
      } else if (table != nullptr) {
        read_upstream(name, key, *table);
      } else if (auto* array = upstream.as_array(); array != nullptr && array->is_array_of_tables()) {
        complain(upstream, "upstream." + name,
                 "[[upstream." + name + "]] must be written with single brackets",
                 "Write [upstream." + name + "], once.");
        read_upstream(name, key, *array->front().as_table());
      } else {
        builder_.add({file_, static_cast<int>(key.source().begin.line), "upstream." + name,
                      "is in a section without a name", "Write [upstream.NAME] before it."});
      }
    }
  }

  // [upstream.db.one], which TOML takes for a table "one" in "db".
  static bool has_only_tables(const toml::table& table) {
    return !table.empty() &&
           std::ranges::all_of(table, [](const auto& entry) { return entry.second.is_table(); });
  }

  // Each becomes an upstream, so that its name and its settings cause no further errors.
  void read_dotted(const std::string& first, toml::table& upstreams) {
    for (auto&& [key, upstream] : upstreams) {
      const std::string name = first + '.' + std::string(key.str());
      complain_of_dot("upstream." + first, key);
      auto& section = builder_.add_upstream(name, place_of(file_, key.source()));
      read_section(*upstream.as_table(), upstream_settings(), section);
    }
  }

  void complain_of_dot(const std::string& section, const toml::key& key) {
    const auto place = place_of(file_, key.source());
    const std::string name(key.str());
    builder_.add({place.file, place.line, section + '.' + name, "an upstream name cannot contain a dot",
                  "Write [" + section + '-' + name + "], and use that name in the listener."});
  }

  void read_upstream(const std::string& name, const toml::key& key, toml::table& table) {
    const bool is_plain = !name.empty() && name.find_first_not_of(
                                               "abcdefghijklmnopqrstuvwxyz"
                                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                               "0123456789_-") == std::string::npos;
    if (!is_plain)
      builder_.add({file_, static_cast<int>(key.source().begin.line), "upstream",
                    "invalid upstream name " + in_quotes(name),
                    "Use letters, digits, \"_\" and \"-\". Set host to the name of the server."});
    auto& section = builder_.add_upstream(name, place_of(file_, key.source()));
    read_section(table, upstream_settings(), section);
  }

  template <class Section>
  void read_single(const std::string& name, toml::node& node, std::span<const Setting<Section>> settings,
                   SectionBuilder<Section>& section) {
    if (auto* table = node.as_table()) {
      builder_.note_place(section, place_of(file_, node.source()));
      read_section(*table, settings, section);
    } else {
      complain(node, name, "must be a table", "Write [" + name + "], once.");
    }
  }

  template <class Section>
  void read_section(toml::table& table, std::span<const Setting<Section>> settings,
                    SectionBuilder<Section>& section,
                    std::initializer_list<std::string_view> subsections = {}) {
    for (auto&& [key, node] : table) {
      if (std::find(subsections.begin(), subsections.end(), key.str()) != subsections.end()) continue;
      const auto setting = std::find_if(settings.begin(), settings.end(), [&k = key](const auto& candidate) {
        return candidate.key == k.str();
      });
      if (setting == settings.end()) {
        std::vector<std::string_view> known;
        for (const auto& candidate : settings) known.push_back(candidate.key);
        known.insert(known.end(), subsections.begin(), subsections.end());
        if (section.key.starts_with("upstream.") && node.is_table())
          complain_of_dot(section.key, key);
        else
          complain_unknown(key, section.key, known);
        continue;
      }
      builder_.set(section, *setting, raw_value(node), place_of(file_, key.source()));
      if (const auto* text = node.as_string())
        builder_.note_text(section, setting->key, {file_, first_line_of(text->get(), node.source())});
      if (auto* text = node.as_string(); text != nullptr && setting->secret) tls::wipe(text->get());
    }
  }

  void complain(const toml::node& node, std::string key, std::string message, std::string hint) {
    const auto place = place_of(file_, node.source());
    builder_.add({place.file, place.line, std::move(key), std::move(message), std::move(hint)});
  }

  void complain_unknown(const toml::key& key, const std::string& section,
                        const std::vector<std::string_view>& known) {
    const auto place = place_of(file_, key.source());
    const auto near = values::nearest(key.str(), known);
    std::string name(key.str());
    if (!section.empty()) name.insert(0, section + '.');
    const auto elsewhere = section_with(key.str());
    if (!elsewhere.empty()) {
      builder_.add({place.file, place.line, std::move(name), "does not belong in this section",
                    "Write it in " + std::string(elsewhere) + "."});
      return;
    }
    builder_.add({place.file, place.line, std::move(name), "unknown key",
                  near.empty() ? "The keys of this section are " + values::all_of(known) + "."
                               : values::did_you_mean(near)});
  }

  const std::string& file_;
  ConfigBuilder& builder_;
};

std::string_view line_of(std::string_view text, toml::source_index line) {
  for (; line > 1 && !text.empty(); --line)
    text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  return text.substr(0, text.find('\n'));
}

// Whether a secret may stand in this line, or in one above it in the same section: a text may go on over
// several.
bool may_hold_secret(std::string_view text, toml::source_index line) {
  for (; line > 0; --line) {
    const auto found = line_of(text, line);
    // "pas": the key itself may be misspelled.
    if (found.find("pas") != std::string_view::npos || values::may_hold_password(found)) return true;
    if (found.starts_with('[')) return false;
  }
  return false;
}

// "invalid TOML in string: ..." for "Error while parsing string: ...".
std::string message_of(std::string_view words) {
  constexpr std::string_view kBeginning = "Error while parsing ";
  if (words.starts_with(kBeginning))
    return fmt::format("invalid TOML in {}", words.substr(kBeginning.size()));
  return fmt::format("invalid TOML: {}", words);
}

// toml++'s words quote the text at fault: not to be shown of a line that holds a secret.
ConfigError syntax_error(const std::string& toml, const std::string& file, const toml::parse_error& error) {
  const auto line = error.source().begin.line;
  const bool may_be_secret = may_hold_secret(toml, line);
  const std::string_view words = error.description();
  const auto hint = [&] {
    if (words.find("redefine") != words.npos) return std::string("Remove one of the two, or join them.");
    if (may_be_secret) return std::string(kTomlReference);
    const bool is_not_utf8 = words.find("invalid utf-8") != words.npos && !is_utf16(toml);
    return is_not_utf8 ? "Save the file in UTF-8." : toml_hint(toml, line);
  };
  return {file, static_cast<int>(line), "",
          may_be_secret ? "invalid TOML (not shown, since it may be a secret)" : message_of(words), hint()};
}

}  // namespace

void read_toml(std::string& toml, const std::string& file, ConfigBuilder& builder) {
  builder.set_file(file);
  try {
    toml::table root = toml::parse(toml, file);
    TomlReader(file, builder).read(root);
  } catch (const toml::parse_error& error) {  // the one thing that toml++ throws
    builder.add(syntax_error(toml, file, error));
  }
  tls::wipe(toml);
}

tl::expected<ParsedConfig, ConfigErrors> parse_config(std::string_view toml, const std::string& file) {
  ConfigBuilder builder;
  std::string text(toml);
  read_toml(text, file, builder);
  auto result = std::move(builder).finish();
  if (result.report.has_errors()) return tl::unexpected(result.report.errors());
  return std::move(result.parsed);
}

}  // namespace pgveil::proxy
