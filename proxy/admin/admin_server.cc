#include "proxy/admin/admin_server.h"

#include <fmt/format.h>
#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <system_error>
#include <utility>

#include "proxy/admin/metrics_page.h"
#include "proxy/base/signals_held_back.h"

namespace pgveil::proxy {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kMaxQuestionInterval{1'000};
constexpr int kUnavailable = 503;
constexpr int kAccepted = 202;
constexpr int kForbidden = 403;

}  // namespace

AdminServer::AdminServer(std::vector<Descriptor> sockets, ObservedProcess process)
    : process_(std::move(process)), stop_(new uv_async_t) {
  // Once the handle is closed, run() returns when everything else is closed, too.
  uv_async_init(loop_.get(), stop_.get(), [](uv_async_t* stop) {
    auto& server = *static_cast<AdminServer*>(stop->data);
    server.listener_.reset();
    server.next_question_.reset();
    server.stop_.reset();
  });
  stop_->data = this;
  add_pages();
  listener_.emplace(loop_.get(), std::move(sockets),
                    [this](const HttpRequest& request) { return service_.answer(request); });
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
  service_.add_page("/livez", [this](const auto&) { return live(); });
  service_.add_page("/readyz", [this](const auto&) { return ready(); });
  service_.add_page("/startupz", [this](const auto&) { return started(); });
  service_.add_page("/metrics", [this](const auto& request) { return metrics(request); });
  service_.add_order("/quitquitquit", [this](const auto&) { return quit(); });
  service_.add_order("/reload", [this](const auto&) { return reload(); });
}

AdminServer::Response AdminServer::live() const {
  const auto now = WorkerPulse::Clock::now();
  const auto limit = process_.state.liveness_limit();
  std::string text;
  for (std::size_t i = 0; i < process_.workers.size(); ++i)
    if (const auto silence = process_.workers[i].pulse->silence(now); silence && *silence > limit)
      text += fmt::format("worker {} has not completed a turn of its loop for {:.1f} s\n", i + 1,
                          std::chrono::duration<double>(*silence).count());
  if (text.empty()) return {.body = "all workers run\n"};
  return {.status = kUnavailable, .body = std::move(text)};
}

AdminServer::Response AdminServer::ready() const {
  const ProcessState::Values values = process_.state.values();
  std::string text;
  if (values.listeners.empty()) text += "no listener is open\n";
  if (values.last_reload_failed) text += "the last reload failed; the log has the errors\n";
  if (values.is_draining) text += "pgveil drains: it stops\n";
  if (text.empty()) return {.body = "ready\n"};
  return {.status = kUnavailable, .body = std::move(text)};
}

AdminServer::Response AdminServer::started() const {
  if (!process_.state.values().listeners.empty()) return {.body = "started\n"};
  return {.status = kUnavailable, .body = "no listener is open yet\n"};
}

AdminServer::Response AdminServer::metrics(const HttpRequest& request) const {
  return metrics_page(process_, request.accept);
}

AdminServer::Response AdminServer::quit() const {
  if (!process_.state.values().snapshot->admin.allow_quit)
    return {.status = kForbidden, .body = "not allowed; set allow_quit = true in [admin]\n"};
  process_.quit();
  return {.status = kAccepted, .body = "pgveil stops\n"};
}

AdminServer::Response AdminServer::reload() const {
  if (process_.state.values().is_draining) return {.status = kUnavailable, .body = "pgveil stops\n"};
  process_.reload();
  return {.status = kAccepted, .body = "a reload begins; /readyz and the log tell its result\n"};
}

}  // namespace pgveil::proxy
