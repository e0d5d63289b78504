#include "proxy/config/connection_string.h"

#include <algorithm>
#include <optional>

namespace pgveil::proxy {
namespace {

using Result = tl::expected<ConnectionParameters, ConfigError>;

constexpr std::string_view kWhitespace = " \t\n\r\f\v";
constexpr const char* kHint =
    "Write a URI such as \"postgresql://db01:5433/ledger\", or keywords such as \"host=db01 port=5433\".";

tl::unexpected<ConfigError> invalid(std::string what) {
  return tl::unexpected(value_error("invalid connection string: " + std::move(what), kHint));
}

// --- keywords and values ---

void skip_blanks(std::string_view& rest) {
  rest.remove_prefix(std::min(rest.find_first_not_of(kWhitespace), rest.size()));
}

std::string_view take_keyword(std::string_view& rest) {
  const std::string_view keyword = rest.substr(0, rest.find_first_of("= \t\n\r\f\v"));
  rest.remove_prefix(keyword.size());
  return keyword;
}

// Takes a value, in which a backslash makes the next character a plain one. nullopt: a quote is not closed.
std::optional<std::string> take_value(std::string_view& rest) {
  const bool is_quoted = rest.starts_with('\'');
  if (is_quoted) rest.remove_prefix(1);
  std::string value;
  value.reserve(rest.size());  // it may be a secret, of which no copy may be left
  while (!rest.empty()) {
    const char next = rest.front();
    if (is_quoted ? next == '\'' : kWhitespace.find(next) != std::string_view::npos) break;
    rest.remove_prefix(1);
    if (next != '\\') {
      value += next;
    } else if (!rest.empty()) {
      value += rest.front();
      rest.remove_prefix(1);
    }
  }
  if (!is_quoted) return value;
  if (rest.empty()) return std::nullopt;
  rest.remove_prefix(1);
  return value;
}

Result parse_keywords(std::string_view rest) {
  ConnectionParameters parameters;
  parameters.reserve(static_cast<std::size_t>(std::ranges::count(rest, '=')));
  for (skip_blanks(rest); !rest.empty(); skip_blanks(rest)) {
    const std::string_view keyword = take_keyword(rest);
    skip_blanks(rest);
    if (keyword.empty() || !rest.starts_with('=')) return invalid("\"=\" is missing after a keyword");
    rest.remove_prefix(1);
    skip_blanks(rest);
    auto value = take_value(rest);
    if (!value) return invalid("a quote is not closed");
    parameters.emplace_back(keyword, *std::move(value));
  }
  return parameters;
}

// --- URIs ---

std::optional<unsigned> hex_digit(char digit) {
  if (digit >= '0' && digit <= '9') return static_cast<unsigned>(digit - '0');
  if (digit >= 'a' && digit <= 'f') return static_cast<unsigned>(digit - 'a' + 10);
  if (digit >= 'A' && digit <= 'F') return static_cast<unsigned>(digit - 'A' + 10);
  return std::nullopt;
}

// Replaces "%41" by "A". nullopt: a "%" is followed by something else, or by 00.
std::optional<std::string> decoded(std::string_view text) {
  std::string value;
  value.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      value += text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const auto high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
    if (!high || !low || *high + *low == 0) return std::nullopt;
    value += static_cast<char>(*high * 16 + *low);
    i += 2;
  }
  return value;
}

// Collects decoded parameters, and remembers whether one could not be decoded.
class Collector {
 public:
  // `most` parameters come, or fewer. So those that are secret are not moved, which would leave copies.
  explicit Collector(std::size_t most) { parameters_.reserve(most); }
  void add(std::string_view name, std::string_view encoded) {
    auto value = decoded(encoded);
    is_valid_ = is_valid_ && value.has_value();
    if (value && !value->empty()) parameters_.emplace_back(name, *std::move(value));
  }
  [[nodiscard]] Result release() {
    if (!is_valid_) return invalid("a \"%\" is not followed by two hexadecimal digits");
    return std::move(parameters_);
  }

 private:
  ConnectionParameters parameters_;
  bool is_valid_ = true;
};

std::string_view take_until(std::string_view& rest, std::string_view ends) {
  const std::string_view part = rest.substr(0, rest.find_first_of(ends));
  rest.remove_prefix(part.size());
  return part;
}

void append(std::string& list, std::string_view element, bool is_first) {
  if (!is_first) list += ',';
  list += element;
}

// Splits "db01:5432,[::1]:5433" into both lists. Returns false if a bracket is not closed.
bool split_hosts(std::string_view rest, std::string& hosts, std::string& ports) {
  bool is_first = true;
  bool has_ports = false;
  for (; is_first || !rest.empty(); is_first = false) {
    if (!is_first) rest.remove_prefix(1);  // the comma
    const bool is_bracketed = rest.starts_with('[');
    if (is_bracketed) rest.remove_prefix(1);
    append(hosts, take_until(rest, is_bracketed ? "]" : ":,"), is_first);
    if (is_bracketed && rest.empty()) return false;
    if (is_bracketed) rest.remove_prefix(1);
    std::string_view port;
    if (rest.starts_with(':')) {
      rest.remove_prefix(1);
      port = take_until(rest, ",");
    }
    has_ports = has_ports || !port.empty();
    append(ports, port.empty() ? "5432" : port, is_first);
    if (!rest.empty() && rest.front() != ',') return false;
  }
  if (!has_ports) ports.clear();
  return true;
}

Result parse_uri(std::string_view rest) {
  rest.remove_prefix(rest.find("://") + 3);
  constexpr std::size_t kOfAuthorityAndPath = 5;
  Collector collector(kOfAuthorityAndPath + static_cast<std::size_t>(std::ranges::count(rest, '=')));
  std::string_view authority = take_until(rest, "/?");
  if (const auto at = authority.rfind('@'); at != std::string_view::npos) {
    std::string_view user = authority.substr(0, at);
    collector.add("user", take_until(user, ":"));
    if (!user.empty()) collector.add("password", user.substr(1));
    authority.remove_prefix(at + 1);
  }
  std::string hosts, ports;
  if (!split_hosts(authority, hosts, ports)) return invalid("the hosts cannot be understood");
  collector.add("host", hosts);
  collector.add("port", ports);
  if (rest.starts_with('/')) {
    rest.remove_prefix(1);
    collector.add("dbname", take_until(rest, "?"));
  }
  while (!rest.empty()) {
    rest.remove_prefix(1);  // "?" or "&"
    std::string_view parameter = take_until(rest, "&");
    const std::string_view name = take_until(parameter, "=");
    if (name.empty() || parameter.empty()) return invalid("\"=\" is missing after a parameter");
    collector.add(name, parameter.substr(1));
  }
  return collector.release();
}

bool is_uri(std::string_view text) {
  return text.starts_with("postgresql://") || text.starts_with("postgres://");
}

}  // namespace

bool is_connection_string(std::string_view text) {
  return is_uri(text) || text.find('=') != std::string_view::npos;
}

tl::expected<ConnectionParameters, ConfigError> parse_connection_string(std::string_view text) {
  return is_uri(text) ? parse_uri(text) : parse_keywords(text);
}

}  // namespace pgveil::proxy
