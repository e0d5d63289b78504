// TOML -> ConfigDraft -> Config.
#include <toml++/toml.h>

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "proxy/config/config_builder.h"
#include "proxy/config/toml_hint.h"
#include "tls/digest.h"

namespace pgveil::proxy {
namespace {

using values::in_quotes;
using values::RawValue;

constexpr std::string_view kCertificates = "certificate";

Origins::Place place_of(const std::string& file, const toml::source_region& source) {
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
std::string_view section_of(std::string_view key) {
  if (has_key(listener_settings(), key)) return "a [[listener]]";
  if (has_key(upstream_settings(), key)) return "an [upstream.NAME]";
  if (has_key(limits_settings(), key)) return "[limits]";
  if (has_key(log_settings(), key)) return "[log]";
  return has_key(certificate_settings(), key) ? "a [[listener.certificate]]" : "";
}

class TomlReader {
 public:
  TomlReader(const std::string& file, ConfigDraft& draft) : file_(file), draft_(draft) {}

  void read(toml::table& root) {
    for (auto&& [key, node] : root) {
      if (key == "listener")
        read_listeners(node);
      else if (key == "upstream")
        read_upstreams(node);
      else if (key == "limits")
        read_single("limits", node, limits_settings(), draft_.limits);
      else if (key == "log")
        read_single("log", node, log_settings(), draft_.log);
      else
        complain_unknown(key, "", {"listener", "upstream", "limits", "log"});
    }
    for (const auto& [key, remedy] : {std::pair{"listener", "Add [[listener]] with address and upstream."},
                                      std::pair{"upstream", "Add [upstream.NAME] with host."}})
      if (!root.contains(key)) draft_.add({file_, 0, key, "is missing", remedy});
  }

 private:
  void read_listeners(toml::node& node) {
    auto* array = node.as_array();
    if (array == nullptr || (!array->empty() && !array->is_array_of_tables()) || array->empty()) {
      complain(node, "listener", "must be an array of tables", "Write [[listener]] above each one.");
      return;
    }
    for (auto& element : *array) {
      auto& table = *element.as_table();
      auto& section = draft_.add_listener(place_of(file_, element.source()));
      read_section(table, listener_settings(), section, {kCertificates});
      if (auto* certificates = table.get(kCertificates)) read_certificates(*certificates, section);
    }
  }

  void read_certificates(toml::node& node, const SectionDraft<ListenerConfig>& listener) {
    auto* array = node.as_array();
    if (array == nullptr || !array->is_array_of_tables()) {
      complain(node, listener.key_of(kCertificates), "must be an array of tables",
               "Write [[listener.certificate]] above each one.");
      return;
    }
    for (auto& element : *array) {
      auto& section = draft_.add_certificate(listener, place_of(file_, element.source()));
      read_section(*element.as_table(), certificate_settings(), section);
    }
  }

  void read_upstreams(toml::node& node) {
    auto* upstreams = node.as_table();
    if (const auto* array = node.as_array(); array != nullptr && array->is_array_of_tables()) {
      complain(node, "upstream", "[[upstream]] stands where [upstream.NAME] is expected",
               "Write [upstream.NAME].");
      return;
    }
    if (upstreams == nullptr || upstreams->empty()) {
      complain(node, "upstream", "must be a table of upstreams", "Write [upstream.NAME] above each one.");
      return;
    }
    for (auto&& [key, upstream] : *upstreams) {
      const std::string name(key.str());
      if (auto* table = upstream.as_table()) {
        read_upstream(name, key, *table);
      } else if (upstream.is_array_of_tables()) {
        complain(upstream, "upstream." + name, "is written as [[upstream." + name + "]]",
                 "Write [upstream." + name + "], once, with single brackets.");
      } else {
        draft_.add({file_, static_cast<int>(key.source().begin.line), "upstream." + name,
                    "stands in [upstream], which has no name", "Write [upstream.NAME] above it."});
      }
    }
  }

  void read_upstream(const std::string& name, const toml::key& key, toml::table& table) {
    const bool is_plain = !name.empty() && name.find_first_not_of(
                                               "abcdefghijklmnopqrstuvwxyz"
                                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                               "0123456789_-") == std::string::npos;
    if (!is_plain)
      draft_.add({file_, static_cast<int>(key.source().begin.line), "upstream",
                  in_quotes(name) + " cannot be the name of an upstream",
                  "Use letters, digits, \"_\" and \"-\" for it; the server's own name belongs to `host`."});
    auto& section = draft_.add_upstream(name, place_of(file_, key.source()));
    read_section(table, upstream_settings(), section);
  }

  template <class Section>
  void read_single(const std::string& name, toml::node& node, std::span<const Setting<Section>> settings,
                   SectionDraft<Section>& section) {
    if (auto* table = node.as_table())
      read_section(*table, settings, section);
    else
      complain(node, name, "must be a table", "Write [" + name + "], once.");
  }

  template <class Section>
  void read_section(toml::table& table, std::span<const Setting<Section>> settings,
                    SectionDraft<Section>& section,
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
          complain(
              node, section.key + '.' + std::string(key.str()),
              "the name of an upstream cannot contain a dot",
              "Write [" + section.key + '-' + std::string(key.str()) + "], and use that name in `upstream`.");
        else
          complain_unknown(key, section.key, known);
        continue;
      }
      draft_.set(section, *setting, raw_value(node), place_of(file_, key.source()));
      if (const auto* text = node.as_string())
        draft_.note_text(section, setting->key, {file_, first_line_of(text->get(), node.source())});
      if (auto* text = node.as_string(); text != nullptr && setting->secret) tls::wipe(text->get());
    }
  }

  void complain(const toml::node& node, std::string key, std::string problem, std::string remedy) {
    const auto place = place_of(file_, node.source());
    draft_.add({place.file, place.line, std::move(key), std::move(problem), std::move(remedy)});
  }

  void complain_unknown(const toml::key& key, const std::string& section,
                        const std::vector<std::string_view>& known) {
    const auto place = place_of(file_, key.source());
    const auto near = values::nearest(key.str(), known);
    std::string name(key.str());
    if (!section.empty()) name.insert(0, section + '.');
    const auto elsewhere = section_of(key.str());
    if (!elsewhere.empty()) {
      draft_.add({place.file, place.line, std::move(name), "is not a key of this section",
                  "Write it in " + std::string(elsewhere) + "."});
      return;
    }
    draft_.add({place.file, place.line, std::move(name), "there is no such key",
                near.empty() ? "Known are " + values::one_of(known, "") + "."
                             : "Is " + in_quotes(near) + " meant?"});
  }

  const std::string& file_;
  ConfigDraft& draft_;
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

// toml++'s words quote the text at fault: not to be shown of a line that holds a secret.
Mistake syntax_mistake(const std::string& toml, const std::string& file, const toml::parse_error& error) {
  const auto line = error.source().begin.line;
  const bool may_be_secret = may_hold_secret(toml, line);
  const std::string words(error.description());
  const bool is_repeated = words.find("redefine") != std::string::npos;
  return {file, static_cast<int>(line), "",
          "this is not valid TOML" + (may_be_secret ? " (not shown, as it may be a secret)" : ": " + words),
          is_repeated     ? "Remove one of the two."
          : may_be_secret ? std::string(kTomlReference)
                          : toml_hint(toml, line)};
}

}  // namespace

void read_toml(std::string& toml, const std::string& file, ConfigDraft& draft) {
  try {
    toml::table root = toml::parse(toml, file);
    TomlReader(file, draft).read(root);
  } catch (const toml::parse_error& error) {  // the one thing that toml++ throws
    draft.add(syntax_mistake(toml, file, error));
  }
  tls::wipe(toml);
}

tl::expected<ParsedConfig, Mistakes> parse_config(std::string_view toml, const std::string& file) {
  ConfigDraft draft;
  std::string text(toml);
  read_toml(text, file, draft);
  auto reading = std::move(draft).finish();
  if (!reading.mistakes.empty()) return tl::unexpected(std::move(reading.mistakes));
  return std::move(reading.parsed);
}

}  // namespace pgveil::proxy
