#include "proxy/doctor/server_facts.h"

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

namespace pgveil::proxy {
namespace {

// Certificates and VALID UNTIL have a resolution of seconds; what a network adds is far less than this.
constexpr double kMostClockSeconds = 60;

Fact<protocol::QueryAnswer> ask(TrialLogin& login, const std::string& sql) {
  auto answer = login.ask(sql);
  if (!answer) return tl::unexpected(answer.error());
  if (answer->error) return tl::unexpected(answer->error->message);
  return *std::move(answer);
}

// Returns the first row, which has `columns` values.
Fact<protocol::Row> ask_for_row(TrialLogin& login, const std::string& sql, std::size_t columns) {
  auto answer = ask(login, sql);
  if (!answer) return tl::unexpected(answer.error());
  if (answer->rows.empty() || answer->rows.front().size() != columns)
    return tl::unexpected<std::string>("the server has sent no row");
  return std::move(answer->rows.front());
}

Fact<std::string> show(TrialLogin& login, std::string_view parameter) {
  const auto row = ask_for_row(login, fmt::format("SHOW {}", parameter), 1);
  if (!row) return tl::unexpected(row.error());
  return row->front().value_or("");
}

// Names are qualified, so that no function or operator of another user is run.
Fact<BackendTls> ask_for_tls(TrialLogin& login) {
  const auto row = ask_for_row(login,
                               "SELECT ssl, version, cipher, bits FROM pg_catalog.pg_stat_ssl WHERE pid "
                               "OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()",
                               4);
  if (!row) return tl::unexpected(row.error());
  const auto text = [&](std::size_t i) { return (*row)[i].value_or(""); };
  return BackendTls{.is_used = text(0) == "t", .version = text(1), .cipher = text(2), .bits = text(3)};
}

Fact<std::vector<HbaRule>> ask_for_rules(TrialLogin& login, int major_version) {
  const auto answer = ask(login, hba_query(major_version));
  if (!answer) return tl::unexpected(answer.error());
  std::vector<HbaRule> rules;
  for (const auto& row : answer->rows) rules.push_back(hba_rule(row));
  return rules;
}

// Returns the number that the whole text is; nullopt: it is not one.
std::optional<double> number_in(std::string_view text) {
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end || !std::isfinite(number)) return std::nullopt;
  return number;
}

// The server's clock is compared with the middle of the question.
Fact<double> ask_for_clock(TrialLogin& login) {
  using WallClock = std::chrono::system_clock;
  const auto seconds = [] {
    return std::chrono::duration<double>(WallClock::now().time_since_epoch()).count();
  };
  const double before = seconds();
  const auto row = ask_for_row(login, "SELECT EXTRACT(epoch FROM pg_catalog.clock_timestamp())", 1);
  if (!row) return tl::unexpected(row.error());
  const double after = seconds();
  const auto server = number_in(row->front().value_or(""));
  if (!server) return tl::unexpected<std::string>("the server has sent no number");
  return *server - (before + after) / 2;
}

Step unknown(const char* name, const std::string& why) {
  return {.name = name, .text = "not known: " + why};
}

Step version_step(const std::string& version) {
  return {.name = "version",
          .text = version.empty() ? "not known: none was sent" : "server_version " + version};
}

Step ssl_step(const Fact<std::string>& ssl) {
  constexpr const char* kName = "SHOW ssl";
  if (!ssl) return unknown(kName, ssl.error());
  if (*ssl == "on") return {.name = kName, .outcome = Outcome::passed, .text = *ssl};
  return {
      .name = kName,
      .text = *ssl + ": PostgreSQL itself has no TLS, so something in front of it ends the TLS connection"};
}

// PgBouncer has a TLS connection of its own to PostgreSQL, or none.
Step inner_tls_step(const BackendTls& tls) {
  constexpr const char* kName = "pg_stat_ssl";
  if (!tls.is_used)
    return {.name = kName, .text = "PgBouncer connects to PostgreSQL without TLS (server_tls_sslmode)"};
  return {.name = kName,
          .text = fmt::format("{}, {}, {} bits, between PgBouncer and PostgreSQL", tls.version, tls.cipher,
                              tls.bits)};
}

Step tls_step(const Fact<BackendTls>& tls, const tls::Established& agreed,
              std::optional<Responder> responder) {
  constexpr const char* kName = "pg_stat_ssl";
  if (!tls) return unknown(kName, tls.error());
  if (responder == Responder::pgbouncer) return inner_tls_step(*tls);
  if (!tls->is_used)
    return {
        .name = kName,
        .text =
            "ssl = f: PostgreSQL sees no TLS, so something in front of it, such as PgBouncer, ends the TLS "
            "connection"};
  std::string text = fmt::format("{}, {}, {} bits", tls->version, tls->cipher, tls->bits);
  if (tls->version == agreed.version && tls->cipher == agreed.cipher)
    return {.name = kName, .outcome = Outcome::passed, .text = std::move(text)};
  return {.name = kName,
          .text = fmt::format("{}: not what was agreed here ({}, {}), so there are two TLS connections, with "
                              "something in between",
                              text, agreed.version, agreed.cipher)};
}

Step encryption_step(const Fact<std::string>& encryption) {
  constexpr const char* kName = "passwords";
  if (!encryption) return unknown(kName, encryption.error());
  Step step{.name = kName, .outcome = Outcome::passed, .text = "password_encryption = " + *encryption};
  if (*encryption == "scram-sha-256") return step;
  step.outcome = Outcome::failed;
  step.finding = Finding{.side = Side::server,
                         .cause = fmt::format("The server stores new passwords as MD5 hashes, because "
                                              "password_encryption is {}.",
                                              *encryption),
                         .remedy =
                             "Run ALTER SYSTEM SET password_encryption = 'scram-sha-256' and SELECT "
                             "pg_reload_conf(), and set the passwords anew."};
  return step;
}

Step clock_step(const Fact<double>& lead) {
  constexpr const char* kName = "clock";
  if (!lead) return unknown(kName, lead.error());
  const double size = std::abs(*lead);
  const std::string direction = *lead < 0 ? "behind" : "ahead of";
  Step step{.name = kName, .outcome = Outcome::passed, .text = {}};
  if (size <= 1) {
    step.text = "the server's clock is that of this machine, to within a second";
    return step;
  }
  step.text = fmt::format("the server's clock is {:.0f} seconds {} this machine's", size, direction);
  if (size <= kMostClockSeconds) {
    step.outcome = Outcome::noted;
    return step;
  }
  step.outcome = Outcome::failed;
  step.finding = Finding{
      .side = Side::client,
      .cause =
          fmt::format("The server's clock is {:.0f} seconds {} this machine's, so they do not agree when a "
                      "certificate or a CRL is valid.",
                      size, direction),
      .remedy = "Set the clock of the machine that is wrong: let chrony or systemd-timesyncd run on both."};
  return step;
}

// The admin console of PgBouncer has none of what PostgreSQL is asked for.
bool is_of_admin_console(const std::string& server_version) {
  return server_version.ends_with("/bouncer");
}

ServerFacts facts_of_admin_console(std::string version) {
  const tl::unexpected<std::string> not_asked("the admin console of PgBouncer is not asked");
  return {.version = std::move(version),
          .ssl = not_asked,
          .password_encryption = not_asked,
          .tls = not_asked,
          .rules = not_asked,
          .clock_lead = not_asked};
}

}  // namespace

int major_version_of(const std::string& server_version) {
  return std::atoi(server_version.c_str());
}

ServerFacts ask_for_facts(TrialLogin& login) {
  const auto found = login.parameters().find("server_version");
  std::string version = found == login.parameters().end() ? "" : found->second;
  if (is_of_admin_console(version)) return facts_of_admin_console(std::move(version));
  const int major_version = major_version_of(version);
  return {.version = std::move(version),
          .ssl = show(login, "ssl"),
          .password_encryption = show(login, "password_encryption"),
          .tls = ask_for_tls(login),
          .rules = ask_for_rules(login, major_version),
          .clock_lead = ask_for_clock(login)};
}

std::vector<Step> steps_of(const ServerFacts& facts, const tls::Established& agreed,
                           std::optional<Responder> responder) {
  if (is_of_admin_console(facts.version))
    return {{.name = "version",
             .text = fmt::format("server_version {}: the admin console of PgBouncer, not PostgreSQL",
                                 facts.version)}};
  std::vector<Step> steps{version_step(facts.version), ssl_step(facts.ssl),
                          tls_step(facts.tls, agreed, responder), encryption_step(facts.password_encryption)};
  if (facts.rules)
    for (Step& step : review_hba(*facts.rules)) steps.push_back(std::move(step));
  else
    steps.push_back(unknown("pg_hba", facts.rules.error() + " (a superuser may read pg_hba_file_rules)"));
  steps.push_back(clock_step(facts.clock_lead));
  return steps;
}

}  // namespace pgveil::proxy
