#include "proxy/commands/status.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "proxy/commands/shown_page.h"
#include "proxy/commands/terminal_table.h"

namespace pgveil::proxy {
namespace {

using Json = nlohmann::ordered_json;
using Row = TableRow;

std::string latency_text(double seconds) {
  constexpr double kMilliseconds = 1e3, kMicroseconds = 1e6;  // in a second
  if (seconds >= 1) return fmt::format("{:.1f} s", seconds);
  if (seconds >= 1e-3) return fmt::format("{:.1f} ms", seconds * kMilliseconds);
  return fmt::format("{:.0f} us", seconds * kMicroseconds);
}

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

// Half of all steps are shorter than the first time, 99 % than the second one.
std::string latency_cell(const Json& latency) {
  if (latency.is_null()) return "-";
  return fmt::format("{} / {}", latency_text(latency.at("p50").get<double>()),
                     latency_text(latency.at("p99").get<double>()));
}

std::string latencies_text(const Json& listeners) {
  std::vector<Row> rows{
      {"50 % / 99 % SHORTER THAN", "CLIENT TLS", "CONNECT", "SERVER TLS", "LOGIN", "START"}};
  for (const Json& listener : listeners) {
    const Json& latencies = listener.at("latencies");
    if (latencies.at("start").is_null()) continue;
    Row row{listener.at("address")};
    for (const auto& [step, latency] : latencies.items()) row.push_back(latency_cell(latency));
    rows.push_back(std::move(row));
  }
  return rows.size() > 1 ? '\n' + table(rows) : "";
}

// "sessions 6 of 10000". A number that is not known is a question mark.
std::string limit_text(std::string_view name, const Json& limit) {
  const auto text = [](const Json& value) { return value.is_null() ? "?" : number(value); };
  return fmt::format("{} {} of {}", name, text(limit.at("used")), text(limit.at("max")));
}

std::string limits_text(const Json& limits) {
  return fmt::format("limits: {}, {}, {}\n", limit_text("sessions", limits.at("sessions")),
                     limit_text("clients that log in", limits.at("unauthenticated_clients")),
                     limit_text("descriptors", limits.at("descriptors")));
}

// "mistake: pgveil.toml:12: listener.address: invalid port"
std::string mistake_text(const Json& mistake) {
  auto place = mistake.at("file").get<std::string>();
  if (!mistake.at("line").is_null()) place += ':' + number(mistake.at("line"));
  std::string text = "mistake: ";
  for (const std::string& part : {place, mistake.at("setting").get<std::string>()})
    if (!part.empty()) text += part + ": ";
  return text + mistake.at("message").get<std::string>() + '\n';
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
  for (const Json& mistake : configuration.at("mistakes")) text += mistake_text(mistake);
  text += limits_text(status.at("limits"));
  const Json& listeners = status.at("listeners");
  return text + '\n' + listeners_text(listeners) + latencies_text(listeners) +
         upstreams_text(status.at("upstreams")) + ends_text(listeners) +
         certificates_text(status.at("certificates"));
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
  const auto text_of = [&query](std::string_view json) {
    std::string text = status_text(json);
    return query.as_json && !text.empty() ? std::string(json) : text;
  };
  return show({.address = query.address,
               .path = "/status",
               .clears_screen = !query.as_json,
               .watches = query.watches,
               .patience = query.patience,
               .text_of = text_of});
}

}  // namespace pgveil::proxy
