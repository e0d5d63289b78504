#include "proxy/commands/doctor.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iostream>
#include <memory>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "proxy/base/exit_code.h"
#include "proxy/base/whole_file.h"
#include "proxy/commands/host_text.h"
#include "proxy/config/config_report.h"
#include "proxy/config/values.h"
#include "proxy/doctor/chain_file.h"
#include "proxy/doctor/examination.h"
#include "proxy/doctor/listener_review.h"
#include "proxy/doctor/report_json.h"
#include "proxy/doctor/report_text.h"
#include "proxy/snapshot/snapshot.h"
#include "tls/digest.h"

namespace pgveil::proxy {
namespace {

// What is to be examined, with the files loaded that the settings name.
struct Subjects {
  std::vector<std::shared_ptr<const Upstream>> upstreams;
  std::vector<ListenerConfig> listeners;
};

tl::expected<Subjects, ConfigReport> load_options(const UpstreamConfig& config) {
  auto upstream = std::make_shared<Upstream>(Upstream{config, nullptr, {}});
  auto context = tls::ClientContext::build(config.tls);
  tls::wipe(upstream->config.tls.sslpassword);
  if (context) {
    upstream->tls = *std::move(context);
    return Subjects{.upstreams = {std::move(upstream)}, .listeners = {}};
  }
  ConfigReport report;
  for (auto& error : context.error())
    report.add_error({"--" + error.setting, 0, "", std::move(error.message), std::move(error.hint)});
  return tl::unexpected(std::move(report));
}

tl::expected<Subjects, ConfigReport> load_configuration(const ParsedConfig& parsed) {
  const auto snapshot = build_snapshot(parsed);
  if (!snapshot) return tl::unexpected(snapshot.error());
  Subjects subjects;
  for (const auto& [name, upstream] : (*snapshot)->upstreams) subjects.upstreams.push_back(upstream);
  for (const auto& listener : (*snapshot)->listeners) subjects.listeners.push_back(listener.config);
  return subjects;
}

// Examines each host of an upstream as if it were the only one.
void examine_hosts(const Upstream& upstream, const LoginRequest& login, std::int64_t now,
                   std::vector<ServerReport>& reports) {
  for (const UpstreamHost& host : upstream.config.hosts) {
    auto single = std::make_shared<Upstream>(Upstream{upstream.config, upstream.tls, {}});
    single->config.hosts = {host};
    reports.push_back(examine(single, login, now));
    reports.back().server = text_of(host);
  }
}

Report examine_all(const Subjects& subjects, const LoginRequest& login, std::int64_t now) {
  Report report;
  for (const auto& upstream : subjects.upstreams) examine_hosts(*upstream, login, now, report.servers);
  for (const auto& listener : subjects.listeners) {
    auto review = review_listener(listener, now);
    if (!review.steps.empty()) report.listeners.push_back(std::move(review));
  }
  return report;
}

// Each note is a step before the others.
void add_notes(const std::vector<std::string>& notes, Report& report) {
  std::vector<Step> steps;
  steps.reserve(notes.size());
  for (const std::string& note : notes) steps.push_back({.name = "options", .text = note});
  for (ServerReport& server : report.servers)
    server.steps.insert(server.steps.begin(), steps.begin(), steps.end());
}

// Saves the certificates that the server has sent. If that fails, prints the error and returns false.
bool save_chain(const ServerReport& server, const std::string& file, std::int64_t now) {
  constexpr mode_t kMode = 0644;
  ConfigReport report;
  if (server.chain.empty()) {
    report.add_error(value_error("cannot save the chain: the server has sent none",
                                 "Correct what the verdict of the report names."));
  } else if (const int error = create_whole_file(file, chain_file(server, now), kMode); error != 0) {
    report.add_error(
        value_error("cannot make the file " + values::in_quotes(file) + ": " + std::strerror(error),
                    error == EEXIST ? "Give the name of a new file."
                                    : "Give a file in a directory in which you may write."));
  } else {
    return true;
  }
  std::cerr << report.lines() << std::flush;
  return false;
}

// https://no-color.org
bool has_colours() {
  const char* no_color = std::getenv("NO_COLOR");
  return (no_color == nullptr || *no_color == '\0') && ::isatty(STDOUT_FILENO) == 1;
}

}  // namespace

int run_doctor(const ParsedConfig& parsed, const DoctorRequest& request) {
  const auto subjects = request.server ? load_options(*request.server) : load_configuration(parsed);
  if (!subjects) {
    std::cerr << subjects.error().text() << std::flush;
    return kExitConfig;
  }
  const std::int64_t now = std::time(nullptr);
  Report report = examine_all(*subjects, request.login, now);
  add_notes(request.notes, report);
  std::cout << (request.as_json ? report_json(report, now) : report_text(report, has_colours()))
            << std::flush;
  if (!request.chain_file.empty() && !save_chain(report.servers.front(), request.chain_file, now))
    return kExitCannotCreate;
  return has_failed(report) ? kExitUnavailable : kExitOk;
}

}  // namespace pgveil::proxy
