#include "proxy/commands/status.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>
#include <vector>

#include "proxy/admin/http_client.h"
#include "proxy/base/exit_code.h"
#include "proxy/commands/terminal_table.h"

namespace pgveil::proxy {
namespace {

using Json = nlohmann::ordered_json;
using Row = TableRow;

std::string number(const Json& value) {
  return std::to_string(value.get<std::int64_t>());
}

// Clients that are neither established nor leaving.
std::string logging_in(const Json& phases) {
  std::int64_t count = 0;
  for (const auto& [phase, sessions] : phases.items())
    if (phase != "relay" && phase != "closing" && phase != "forward_cancel")
      count += sessions.get<std::int64_t>();
  return std::to_string(count);
}

std::string listeners_text(const Json& listeners) {
  std::vector<Row> rows{{"LISTENER", "UPSTREAM", "ESTABLISHED", "IDLE", "IN TRANSACTION", "ACTIVE",
                         "LOGGING IN", "LOGINS", "REFUSED", "TO CLIENT", "TO SERVER"}};
  for (const Json& listener : listeners) {
    const Json& phases = listener.at("sessions").at("phases");
    const Json& states = listener.at("sessions").at("established");
    rows.push_back({listener.at("address"), listener.at("upstream"), number(phases.at("relay")),
                    number(states.at("idle")), number(states.at("in_transaction")),
                    number(states.at("active")), logging_in(phases),
                    number(listener.at("logins").at("accepted")), number(listener.at("logins").at("refused")),
                    size_text(listener.at("bytes").at("to_client").get<std::uint64_t>()),
                    size_text(listener.at("bytes").at("to_server").get<std::uint64_t>())});
  }
  return table(rows);
}

// The most frequent ones first.
std::string ends_text(const Json& listeners) {
  std::vector<std::pair<std::int64_t, std::string>> ends;
  for (const Json& listener : listeners)
    for (const auto& [reason, count] : listener.at("ended").items()) {
      const auto same = std::ranges::find(ends, reason, &std::pair<std::int64_t, std::string>::second);
      if (same == ends.end())
        ends.emplace_back(count.get<std::int64_t>(), reason);
      else
        same->first += count.get<std::int64_t>();
    }
  if (ends.empty()) return "";
  std::ranges::stable_sort(ends, std::ranges::greater(), &std::pair<std::int64_t, std::string>::first);
  std::vector<Row> rows{{"SESSIONS ENDED", "COUNT"}};
  for (const auto& [count, reason] : ends) rows.push_back({reason, std::to_string(count)});
  return '\n' + table(rows);
}

std::string upstreams_text(const Json& upstreams) {
  std::vector<Row> rows{{"UPSTREAM", "VERDICT", "SERVER", "LAST CONNECTED", "CERTIFICATE DAYS LEFT"}};
  std::string problems;
  for (const Json& each : upstreams) {
    const auto text = [&](const char* key) {
      return each.at(key).is_null() ? std::string("-") : each.at(key).get<std::string>();
    };
    const Json& certificate = each.at("certificate");
    rows.push_back({each.at("name"), each.at("verdict"), text("server"), text("last_connected"),
                    certificate.is_null() ? "-" : number(certificate.at("days_left"))});
    if (!each.at("problem").is_null())
      problems += fmt::format("upstream {}: {}\n", each.at("name").get<std::string>(), text("problem"));
  }
  return rows.size() == 1 ? "" : '\n' + table(rows) + problems;
}

std::string certificates_text(const Json& certificates) {
  if (certificates.empty()) return "";
  std::vector<Row> rows{{"CERTIFICATE", "SUBJECT", "DAYS LEFT", "FILE"}};
  for (const Json& each : certificates)
    rows.push_back({each.at("kind"), each.at("subject"), number(each.at("days_left")), each.at("file")});
  return '\n' + table(rows);
}

std::string text_of(const Json& status) {
  const Json& configuration = status.at("configuration");
  std::string text = fmt::format(
      "pgveil {}: {}, up {}\n{}, relay by {}, TLS records by {}, workers: {}\n"
      "configuration loaded {}; reloads: {}, failed: {}\n",
      status.at("version").get<std::string>(), status.at("ready").get<bool>() ? "ready" : "not ready",
      duration_text(status.at("uptime_seconds").get<std::int64_t>()), status.at("openssl").get<std::string>(),
      status.at("relay").get<std::string>(), status.at("tls_records") == "own" ? "pgveil" : "OpenSSL",
      number(status.at("workers")), configuration.at("loaded").get<std::string>(),
      number(configuration.at("reloads").at("succeeded")), number(configuration.at("reloads").at("failed")));
  for (const Json& problem : status.at("problems")) text += "problem: " + problem.get<std::string>() + '\n';
  const Json& listeners = status.at("listeners");
  return text + '\n' + listeners_text(listeners) + upstreams_text(status.at("upstreams")) +
         ends_text(listeners) + certificates_text(status.at("certificates"));
}

int print(const StatusQuery& query) {
  constexpr std::string_view kClearScreen = "\x1b[H\x1b[2J";
  const auto response = fetch(query.address, "GET", "/status", query.patience);
  if (!response) {
    std::cerr << "error: " << response.error() << '\n' << std::flush;
    return kExitUnavailable;
  }
  const std::string text = status_text(response->body);
  if (text.empty()) {
    std::cerr << "error: " << query.address.text()
              << " is not the admin address of a pgveil of this version\n"
              << std::flush;
    return kExitUnavailable;
  }
  if (query.watches && !query.as_json) std::cout << kClearScreen;
  std::cout << (query.as_json ? response->body : text) << std::flush;
  return kExitOk;
}

}  // namespace

std::string status_text(std::string_view json) {
  try {
    return text_of(Json::parse(json));
  } catch (const Json::exception&) {
    return "";
  }
}

int run_status(const StatusQuery& query) {
  constexpr std::chrono::seconds kInterval{2};
  int exit_code = print(query);
  while (query.watches && exit_code == kExitOk && std::cout) {
    std::this_thread::sleep_for(kInterval);
    exit_code = print(query);
  }
  return exit_code;
}

}  // namespace pgveil::proxy
