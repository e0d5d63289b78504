#include "tls/internal/server_names.h"

#include <algorithm>

namespace pgveil::tls {
namespace {

// Removes the dot of the DNS root at the end.
std::string_view without_root(std::string_view name) {
  if (name.size() > 1 && name.ends_with('.')) name.remove_suffix(1);
  return name;
}

char lower_case(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

}  // namespace

bool ServerNames::WithoutCase::operator()(std::string_view left, std::string_view right) const {
  return std::lexicographical_compare(left.begin(), left.end(), right.begin(), right.end(),
                                      [](char a, char b) { return lower_case(a) < lower_case(b); });
}

ServerNames::Added ServerNames::add(std::string_view name, std::size_t certificate) {
  const bool wildcard = name.size() > 2 && name.starts_with("*.");
  const std::string key(without_root(wildcard ? name.substr(1) : name));
  if (key.empty() || key.find('*') != std::string::npos) return Added::malformed;
  const auto [place, is_new] = (wildcard ? wildcards_ : exact_).emplace(key, certificate);
  return is_new || place->second == certificate ? Added::added : Added::taken;
}

bool ServerNames::add_default(std::size_t certificate) {
  if (default_) return false;
  default_ = certificate;
  return true;
}

std::optional<std::size_t> ServerNames::find(std::string_view name) const {
  const std::string_view key = without_root(name);
  if (const auto found = exact_.find(key); found != exact_.end()) return found->second;
  const std::size_t dot = key.find('.');
  if (dot != 0 && dot != std::string::npos) {
    if (const auto found = wildcards_.find(key.substr(dot)); found != wildcards_.end()) return found->second;
  }
  return default_;
}

}  // namespace pgveil::tls
