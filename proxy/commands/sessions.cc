#include "proxy/commands/sessions.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iostream>
#include <nlohmann/json.hpp>

#include "proxy/admin/http_client.h"
#include "proxy/base/exit_code.h"
#include "proxy/commands/shown_page.h"
#include "proxy/commands/terminal_table.h"

namespace pgveil::proxy {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 14> kKeys{"session", "age",    "state",     "user",     "database",
                                                 "client",  "rule",   "identity",  "upstream", "server",
                                                 "tls",     "worker", "to_client", "to_server"};

std::string text_at(const Json& session, const char* key) {
  const Json& value = session.at(key);
  return value.is_null() ? "-" : value.get<std::string>();
}

// The TLS of the client and of the server: "TLSv1.3/TLSv1.3", "-/TLSv1.2".
std::string tls_of(const Json& session) {
  return text_at(session, "client_tls") + '/' + text_at(session, "server_tls");
}

// What an established session does; the phase of another one.
std::string state_of(const Json& session) {
  return text_at(session, session.at("state").is_null() ? "phase" : "state");
}

// Numbers are sorted with the largest first.
bool is_number(std::string_view key) {
  return key == "age" || key == "to_client" || key == "to_server" || key == "worker";
}

double number_of(const Json& session, std::string_view key) {
  if (key == "age") return session.at("age_seconds");
  if (key == "worker") return session.at("worker");
  return session.at("bytes").at(std::string(key));
}

std::string value_of(const Json& session, std::string_view key) {
  if (key == "tls") return tls_of(session);
  if (key == "state") return state_of(session);
  if (is_number(key)) return fmt::format("{:.0f}", number_of(session, key));
  return text_at(session, std::string(key).c_str());
}

bool matches(const Json& session, const std::vector<SessionFilter>& filters) {
  return std::ranges::all_of(filters, [&](const SessionFilter& filter) {
    return ::fnmatch(filter.pattern.c_str(), value_of(session, filter.key).c_str(), 0) == 0;
  });
}

bool comes_before(const Json& one, const Json& other, const std::string& key) {
  if (is_number(key)) return number_of(one, key) > number_of(other, key);
  return value_of(one, key) < value_of(other, key);
}

std::vector<Json> selected(const Json& sessions, const SessionsQuery& query) {
  std::vector<Json> selected;
  for (const Json& session : sessions)
    if (matches(session, query.filters)) selected.push_back(session);
  std::ranges::stable_sort(
      selected, [&](const Json& one, const Json& other) { return comes_before(one, other, query.sort); });
  return selected;
}

TableRow row_of(const Json& session) {
  const Json& bytes = session.at("bytes");
  return {text_at(session, "session"),
          duration_text(session.at("age_seconds").get<std::int64_t>()),
          state_of(session),
          text_at(session, "user"),
          text_at(session, "database"),
          text_at(session, "client"),
          text_at(session, "upstream"),
          text_at(session, "server"),
          tls_of(session),
          size_text(bytes.at("to_client").get<std::uint64_t>()),
          size_text(bytes.at("to_server").get<std::uint64_t>()),
          text_at(session, "rule"),
          text_at(session, "identity")};
}

std::string text_of(const std::vector<Json>& sessions) {
  std::vector<TableRow> rows{{"SESSION", "AGE", "STATE", "USER", "DATABASE", "CLIENT", "UPSTREAM", "SERVER",
                              "TLS", "TO CLIENT", "TO SERVER", "RULE", "IDENTITY"}};
  for (const Json& session : sessions) rows.push_back(row_of(session));
  return table(rows);
}

// Only letters, digits and "-" are in the name of a session.
bool is_session_name(std::string_view name) {
  return !name.empty() && name.find_first_not_of("0123456789abcdef-") == std::string_view::npos;
}

}  // namespace

std::span<const std::string_view> session_keys() {
  return kKeys;
}

std::string sessions_text(std::string_view json, const SessionsQuery& query) {
  try {
    const auto sessions = selected(Json::parse(json).at("sessions"), query);
    return query.as_json ? Json{{"schema", 1}, {"sessions", sessions}}.dump(2, ' ', true) + '\n'
                         : text_of(sessions);
  } catch (const Json::exception&) {
    return "";
  }
}

int run_sessions(const SessionsQuery& query) {
  return show({.address = query.address,
               .path = "/sessions",
               .clears_screen = !query.as_json,
               .watches = query.watches,
               .patience = query.patience,
               .text_of = [&query](std::string_view json) { return sessions_text(json, query); }});
}

int run_terminate(const Termination& termination) {
  constexpr int kAccepted = 202;
  if (!is_session_name(termination.session)) return print_error("there is no session " + termination.session);
  const auto response =
      fetch(termination.address, "POST", "/terminate?session=" + termination.session, termination.patience);
  if (!response) return print_error(response.error());
  if (response->status != kAccepted) return print_refusal(response->body);
  std::cout << printable_lines(response->body) << std::flush;
  return kExitOk;
}

}  // namespace pgveil::proxy
