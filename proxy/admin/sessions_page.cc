#include "proxy/admin/sessions_page.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>

namespace pgveil::proxy {
namespace {

using Json = nlohmann::ordered_json;

struct Row {
  const ListedSession* session;
  std::size_t worker;  // from 1 on
};

std::vector<Row> oldest_first(const std::vector<SessionList>& sessions) {
  std::vector<Row> rows;
  for (std::size_t worker = 0; worker < sessions.size(); ++worker)
    for (const ListedSession& session : sessions[worker]) rows.push_back({&session, worker + 1});
  std::ranges::sort(rows, {}, [](const Row& row) { return row.session->accepted; });
  return rows;
}

// What is not known is null.
Json text_or_null(const std::string& text) {
  return text.empty() ? Json() : Json(text);
}

void add_activity(const ListedSession& session, Json& to) {
  const auto& activity = session.activity;
  to["state"] = activity ? Json(name_of(activity->state)) : Json();
  to["bytes"] = {{"to_client", activity ? activity->traffic.to_client.bytes : 0},
                 {"to_server", activity ? activity->traffic.to_server.bytes : 0}};
}

void add_details(const ListedSession& session, Json& to) {
  const SessionDetails details = SessionDetails::unpack(session.details);
  to["listener"] = text_or_null(details.listener);
  to["client"] = text_or_null(details.client);
  to["identity"] = text_or_null(details.identity);
  to["user"] = text_or_null(details.user);
  to["database"] = text_or_null(details.database);
  to["rule"] = text_or_null(details.rule);
  to["upstream"] = text_or_null(details.upstream);
  to["server"] = text_or_null(details.server);
  to["client_tls"] = text_or_null(details.client_tls);
  to["server_tls"] = text_or_null(details.server_tls);
}

Json json_of(const Row& row) {
  const auto age = std::chrono::steady_clock::now() - row.session->accepted;
  Json json{{"session", session_name(row.session->id)},
            {"worker", row.worker},
            {"age_seconds",
             std::chrono::duration<double>(std::chrono::floor<std::chrono::milliseconds>(age)).count()},
            {"phase", name_of(row.session->phase)}};
  add_activity(*row.session, json);
  add_details(*row.session, json);
  return json;
}

}  // namespace

Json json_of(const std::vector<SessionList>& sessions) {
  Json list = Json::array();
  for (const Row& row : oldest_first(sessions)) list.push_back(json_of(row));
  return {{"schema", 1}, {"sessions", std::move(list)}};
}

HttpResponse sessions_page(const std::vector<SessionList>& sessions) {
  // A name that a client has sent may not be UTF-8, and a terminal may show it.
  return {.body = json_of(sessions).dump(2, ' ', true, Json::error_handler_t::replace) + '\n',
          .content_type = "application/json"};
}

bool is_listed(const std::vector<SessionList>& sessions, SessionId id) {
  return std::ranges::any_of(sessions, [id](const SessionList& list) {
    return std::ranges::find(list, id, &ListedSession::id) != list.end();
  });
}

}  // namespace pgveil::proxy
