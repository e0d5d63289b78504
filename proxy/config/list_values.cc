#include "proxy/config/list_values.h"

namespace pgveil::proxy::values {

namespace {
using Kind = RawValue::Kind;
}  // namespace

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const auto end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::string joined(const std::vector<std::string>& elements) {
  std::string text;
  for (const auto& element : elements) text.append(text.empty() ? "" : ",").append(element);
  return text;
}

Read<std::vector<std::string>> NameList::read(const RawValue& raw) {
  const auto text = read_text(raw);
  if (!text) return tl::unexpected(text.error());
  auto names = split(*text, ',');
  for (auto& name : names) {
    const auto begin = name.find_first_not_of(" \t\n");
    if (begin == std::string::npos)
      return invalid("contains an empty element", "Remove the comma beside it.");
    name = name.substr(begin, name.find_last_not_of(" \t\n") - begin + 1);
  }
  return names;
}

Read<std::vector<std::string>> CommandWords::read(const RawValue& raw) {
  if (raw.kind != Kind::list)
    return invalid("must be an array of strings",
                   R"(Write the program and each argument as a string: ["/usr/bin/token", "--user", "%u"].)");
  if (raw.items.empty()) return invalid("does not name a program", "Write the program as the first element.");
  return raw.items;  // check_password_command() checks the words
}

std::string CommandWords::show(const std::vector<std::string>& value) {
  std::string text;
  for (const auto& word : value) text.append(text.empty() ? "[" : ", ").append(in_quotes(word));
  return text.empty() ? text : text + ']';
}

Read<AdminLabels> LabelList::read(const RawValue& raw) {
  const auto names = NameList::read(raw);
  if (!names) return tl::unexpected(names.error());
  AdminLabels labels;
  for (const std::string& name : *names) {
    bool* label = name == "user"       ? &labels.user
                  : name == "database" ? &labels.database
                  : name == "address"  ? &labels.address
                                       : nullptr;
    if (label == nullptr)
      return invalid(in_quotes(name) + " is not a label",
                     "Use user, database or address, with commas between them.");
    *label = true;
  }
  return labels;
}

std::string LabelList::show(const AdminLabels& labels) {
  std::vector<std::string> names;
  if (labels.user) names.emplace_back("user");
  if (labels.database) names.emplace_back("database");
  if (labels.address) names.emplace_back("address");
  return joined(names);
}

Read<AuthMethods> AuthMethodList::read(const RawValue& raw) {
  const auto text = read_text(raw);
  if (!text) return tl::unexpected(text.error());
  auto methods = parse_auth_methods(*text);
  if (!methods)
    return invalid(methods.error(),
                   "Use password, md5, gss, sspi, scram-sha-256, oauth or none, or exclude some of them with "
                   "\"!\" before each.");
  return *methods;
}

}  // namespace pgveil::proxy::values
