#include "proxy/commands/doctor.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
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

// Reads a password file.
tl::expected<UpstreamCredentials, ConfigErrors> load_passfile(const std::string& file) {
  UpstreamConfig config;
  config.passfile = file;
  ConfigErrors warnings;
  return UpstreamCredentials::load(config, nullptr, "", {}, warnings);
}

void add_errors(const ConfigErrors& errors, const char* option, ConfigReport& report) {
  for (const ConfigError& error : errors) report.add_error({option, 0, "", error.message, error.hint});
}

tl::expected<Subjects, ConfigReport> load_options(DoctorRequest& request) {
  auto upstream = std::make_shared<Upstream>(Upstream{*request.server, nullptr, {}});
  tls::ClientSettings settings = request.server->tls;
  if (request.key_passphrase) settings.sslpassword = request.key_passphrase->view();
  request.key_passphrase.reset();
  auto context = tls::ClientContext::build(settings);
  tls::wipe(settings.sslpassword);
  if (context) {
    upstream->tls = *std::move(context);
    return Subjects{.upstreams = {std::move(upstream)}, .listeners = {}};
  }
  ConfigReport report;
  for (auto& error : context.error())
    report.add_error({"--" + error.setting, 0, "", std::move(error.message), std::move(error.hint)});
  return tl::unexpected(std::move(report));
}

// The passwords of files, in the order in which they are looked up.
struct PasswordFiles {
  std::string name;  // of the file that is used for all servers; empty: each upstream has its own
  UpstreamCredentials of_all;
};

// As libpq does, ignores a default file that is missing or cannot be used; the latter with a note.
tl::expected<PasswordFiles, ConfigReport> load_password_files(DoctorRequest& request) {
  PasswordFiles files{.name = request.passfile, .of_all = {}};
  const bool is_default = files.name.empty();
  if (is_default) files.name = request.default_passfile;
  if (files.name.empty() || (is_default && ::access(files.name.c_str(), F_OK) != 0)) {
    files.name.clear();
    return files;
  }
  auto loaded = load_passfile(files.name);
  if (loaded) {
    files.of_all = *std::move(loaded);
  } else if (is_default) {
    request.notes.push_back(fmt::format("the password file is ignored: {}", loaded.error().front().message));
    files.name.clear();
  } else {
    ConfigReport report;
    add_errors(loaded.error(), "--passfile", report);
    return tl::unexpected(std::move(report));
  }
  return files;
}

// The login at one host, with its password.
LoginRequest login_at(const UpstreamHost& host, const Upstream& upstream, const PasswordFiles& files,
                      const LoginRequest& login) {
  LoginRequest complete = login;
  complete.is_configured = !upstream.config.name.empty();
  if (login.user.empty() || login.password) return complete;
  const std::string& database = login.database.empty() ? login.user : login.database;
  const UpstreamCredentials& held = files.name.empty() ? upstream.held : files.of_all;
  complete.password = held.password(host, database, login.user);
  complete.password_source = files.name.empty() ? upstream.config.passfile : files.name;
  if (files.name.empty()) complete.password_side = Side::pgveil;
  complete.has_password_command = !upstream.config.password_command.empty();
  return complete;
}

tl::expected<Subjects, ConfigReport> load_configuration(ParsedConfig& parsed) {
  const auto snapshot = build_snapshot(parsed);
  wipe_secrets(parsed.config);
  if (!snapshot) return tl::unexpected(snapshot.error());
  Subjects subjects;
  for (const auto& [name, upstream] : (*snapshot)->upstreams) subjects.upstreams.push_back(upstream);
  for (const auto& listener : (*snapshot)->listeners) subjects.listeners.push_back(listener.config);
  return subjects;
}

// Examines each host of an upstream as if it were the only one.
void examine_hosts(const Upstream& upstream, const PasswordFiles& files, const DoctorRequest& request,
                   std::int64_t now, std::vector<ServerReport>& reports) {
  for (const UpstreamHost& host : upstream.config.hosts) {
    auto single = std::make_shared<Upstream>(Upstream{upstream.config, upstream.tls, upstream.held});
    single->config.hosts = {host};
    // As in a session, the role may have a certificate of its own.
    if (auto certificate = upstream.held.certificate_of(request.login.user)) {
      const auto path = std::filesystem::path(upstream.config.role_certificates) / request.login.user;
      single->config.tls.sslcert = path.string() + ".crt";
      single->config.tls.sslkey = path.string() + ".key";
      single->tls = std::move(certificate);
    }
    reports.push_back(examine(single, login_at(host, upstream, files, request.login), request.sslmodes, now));
    reports.back().server = text_of(host);
  }
}

Report examine_all(const Subjects& subjects, const PasswordFiles& files, const DoctorRequest& request,
                   std::int64_t now) {
  Report report;
  for (const auto& upstream : subjects.upstreams)
    examine_hosts(*upstream, files, request, now, report.servers);
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

int run_doctor(ParsedConfig& parsed, DoctorRequest& request) {
  // Before the first use of its functions, which abort without it.
  if (const auto missing = tls::missing_algorithm(); !missing.empty()) {
    ConfigReport report;
    report.add_error(value_error("OpenSSL cannot be used, it has " + missing,
                                 "Check its configuration (openssl.cnf, OPENSSL_CONF) and its providers."));
    std::cerr << report.text() << std::flush;
    return kExitConfig;
  }
  const auto subjects = request.server ? load_options(request) : load_configuration(parsed);
  if (!subjects) {
    std::cerr << subjects.error().text() << std::flush;
    return kExitConfig;
  }
  const auto files = load_password_files(request);
  if (!files) {
    std::cerr << files.error().text() << std::flush;
    return kExitConfig;
  }
  const std::int64_t now = std::time(nullptr);
  Report report = examine_all(*subjects, *files, request, now);
  add_notes(request.notes, report);
  std::cout << (request.as_json ? report_json(report, now) : report_text(report, has_colours()))
            << std::flush;
  if (!request.chain_file.empty() && !save_chain(report.servers.front(), request.chain_file, now))
    return kExitCannotCreate;
  return has_failed(report) ? kExitUnavailable : kExitOk;
}

}  // namespace pgveil::proxy
