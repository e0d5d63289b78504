#include "proxy/admin/admin_server.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "proxy/admin/browser_page.h"
#include "proxy/admin/health.h"
#include "proxy/admin/sessions_page.h"
#include "proxy/admin/status_page.h"
#include "proxy/admin/upstream_verdict.h"
#include "proxy/base/signals_held_back.h"

namespace pgveil::proxy {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kMaxQuestionInterval{1'000};
constexpr int kUnavailable = 503;
constexpr int kAccepted = 202;
constexpr int kBadRequest = 400;
constexpr int kForbidden = 403;
constexpr int kNotFound = 404;
constexpr std::string_view kNotLocal =
    "sessions are shown and ended only if the admin address is loopback or a Unix socket\n";

// `reasons`: why not; one a line. `good`: the text if there are none.
HttpResponse health(const std::vector<std::string>& reasons, std::string_view good) {
  if (reasons.empty()) return {.body = std::string(good) + '\n'};
  HttpResponse response{.status = kUnavailable};
  for (const std::string& reason : reasons) response.body += reason + '\n';
  return response;
}

}  // namespace

AdminServer::AdminServer(std::vector<Descriptor> sockets, ObservedProcess process, AcceptedHosts hosts)
    : process_(std::move(process)), service_(hosts), stop_(new uv_async_t) {
  // Once the handle is closed, run() returns when everything else is closed, too.
  uv_async_init(loop_.get(), stop_.get(), [](uv_async_t* stop) {
    auto& server = *static_cast<AdminServer*>(stop->data);
    server.listener_.reset();
    server.connections_.reset();
    server.next_question_.reset();
    server.recorder_.reset();
    server.stop_.reset();
  });
  stop_->data = this;
  recorder_.emplace(loop_.get(), process_, surveyor_);
  add_pages();
  listener_.emplace(loop_.get(), std::move(sockets),
                    [this](const HttpRequest& request) { return service_.answer(request); });
  connections_.emplace(loop_.get(), process_.admin_database, for_statements());
  Wakeable& self = *this;
  next_question_.emplace(loop_.get(), self);
  ask_workers();
  const SignalsHeldBack held;
  thread_ = std::thread([this] { uv_run(loop_.get(), UV_RUN_DEFAULT); });
  ::pthread_setname_np(thread_.native_handle(), "admin");
}

AdminServer::~AdminServer() {
  uv_async_send(stop_.get());
  thread_.join();
}

void AdminServer::wake() {
  ask_workers();
}

// The workers are asked a few times within liveness_limit, and at least once a second for the delays of their loops.
void AdminServer::ask_workers() {
  constexpr int kQuestionsPerLimit = 4;
  const auto now = WorkerPulse::Clock::now();
  for (const ObservedWorker& worker : process_.workers)
    if (worker.pulse->ask(now)) worker.wake();
  next_question_->set(std::clamp(process_.state.liveness_limit() / kQuestionsPerLimit, milliseconds(1),
                                 kMaxQuestionInterval));
}

void AdminServer::add_pages() {
  service_.add_page("/", [page = browser_page()](const auto&) { return page; });
  service_.add_page("/livez", [this](const auto&) { return live(); });
  service_.add_page("/readyz", [this](const auto& request) { return ready(request); });
  service_.add_page("/startupz", [this](const auto&) { return started(); });
  service_.add_page("/metrics", [this](const auto& request) { return metrics_.answer(request.accept); });
  service_.add_page("/status",
                    [this](const auto&) { return status_page(process_, surveyor_, recorder_->history()); });
  service_.add_page("/sessions", [this](const auto&) { return sessions(); });
  service_.add_order("/terminate", [this](const auto& request) { return terminate(request); });
  service_.add_order("/quitquitquit", [this](const auto&) { return quit(); });
  service_.add_order("/reload", [this](const auto&) { return reload(); });
}

AdminServer::Response AdminServer::live() const {
  return health(why_not_live(process_), "all workers run");
}

AdminServer::Response AdminServer::ready(const HttpRequest& request) const {
  const ProcessState::Values values = process_.state.values();
  auto reasons = why_not_ready(values);
  if (query_value(request, "upstream") == "1")
    std::ranges::move(why_upstreams_not_ready(*values.snapshot, time_now()), std::back_inserter(reasons));
  return health(reasons, "ready");
}

AdminServer::Response AdminServer::started() const {
  return health(why_not_started(process_.state.values()), "started");
}

// Who is connected, and the end of sessions, are not for everyone in a network.
AdminServer::Response AdminServer::sessions() {
  if (!process_.facts.admin_is_local) return {.status = kForbidden, .body = std::string(kNotLocal)};
  return sessions_page(session_lister_.sessions());
}

AdminServer::Response AdminServer::terminate(const HttpRequest& request) {
  if (!process_.facts.admin_is_local) return {.status = kForbidden, .body = std::string(kNotLocal)};
  const auto name = query_value(request, "session");
  if (!name) return {.status = kBadRequest, .body = "use POST /terminate?session=SESSION\n"};
  switch (terminate(*name)) {
    case Terminated::yes: return {.status = kAccepted, .body = "session " + *name + " ends\n"};
    case Terminated::no: break;
    case Terminated::perhaps:
      return {.status = kAccepted,
              .body = "session " + *name + " ends, if there is one; a worker does not answer\n"};
  }
  return {.status = kNotFound, .body = "there is no session " + *name + '\n'};
}

AdminServer::Terminated AdminServer::terminate(std::string_view session) {
  const auto id = session_id(session);
  const auto present = session_lister_.present_sessions();
  if (!id || (present && !is_listed(*present, *id))) return Terminated::no;
  for (const ObservedWorker& worker : process_.workers) worker.terminate(*id);
  return present ? Terminated::yes : Terminated::perhaps;
}

// The workers make their lists only if the session is not in the last ones: a client may send many such statements.
bool AdminServer::terminate_listed(std::string_view session) {
  const auto id = session_id(session);
  if (!id || !is_listed(session_lister_.sessions(), *id)) return terminate(session) != Terminated::no;
  for (const ObservedWorker& worker : process_.workers) worker.terminate(*id);
  return true;
}

AdminStatements::Process AdminServer::for_statements() {
  return {.status = [this] { return status_of(process_, surveyor_); },
          .sessions = [this] { return json_of(session_lister_.sessions()); },
          .snapshot = [this] { return process_.state.values().snapshot; },
          .is_draining = [this] { return process_.state.values().is_draining; },
          .reload = [this] { process_.reload("RELOAD"); },
          .shut_down = [this] { process_.quit("SHUTDOWN"); },
          .terminate = [this](std::string_view session) { return terminate_listed(session); }};
}

AdminServer::Response AdminServer::quit() const {
  if (!process_.state.values().snapshot->admin.allow_quit)
    return {.status = kForbidden, .body = "not allowed; set allow_quit = true in [admin]\n"};
  process_.quit("POST /quitquitquit");
  return {.status = kAccepted, .body = "pgveil stops\n"};
}

AdminServer::Response AdminServer::reload() const {
  if (process_.state.values().is_draining)
    return {.status = kUnavailable, .body = "pgveil is shutting down\n"};
  process_.reload("POST /reload");
  return {.status = kAccepted, .body = "a reload begins; /readyz and the log tell its result\n"};
}

}  // namespace pgveil::proxy
