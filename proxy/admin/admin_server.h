// The admin address (health, metrics and orders over HTTP) and the admin database, in a thread of their own, so that none of
// their clients delays a session.
#pragma once

#include <uv.h>

#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include "proxy/admin/admin_connections.h"
#include "proxy/admin/admin_statements.h"
#include "proxy/admin/history_recorder.h"
#include "proxy/admin/http_listener.h"
#include "proxy/admin/http_service.h"
#include "proxy/admin/metrics_page.h"
#include "proxy/admin/observed_process.h"
#include "proxy/admin/request_host.h"
#include "proxy/admin/sessions_page.h"
#include "proxy/base/deadline.h"
#include "proxy/base/descriptor.h"
#include "proxy/base/handle.h"
#include "proxy/config/config.h"

namespace pgveil::proxy {

class AdminServer final : private Wakeable {
 public:
  // Serves requests, and the admin database, until the destructor is called. `sockets`: listening and non-blocking; none if
  // there is no admin address. Throws std::system_error if the
  // system has no thread or no descriptors for it.
  AdminServer(std::vector<Descriptor> sockets, ObservedProcess process, AcceptedHosts hosts);
  ~AdminServer();
  AdminServer(const AdminServer&) = delete;
  AdminServer& operator=(const AdminServer&) = delete;

 private:
  using Response = HttpResponse;

  // All of these run in the admin thread.
  void wake() override;  // the time for the next question to the workers has come
  void ask_workers();
  void add_pages();
  [[nodiscard]] Response live() const;
  [[nodiscard]] Response ready(const HttpRequest& request) const;
  [[nodiscard]] Response started() const;
  [[nodiscard]] Response quit() const;
  [[nodiscard]] Response reload() const;
  [[nodiscard]] Response sessions();
  [[nodiscard]] Response terminate(const HttpRequest& request);
  enum class Terminated { yes, perhaps, no };
  [[nodiscard]] Terminated terminate(std::string_view session);
  [[nodiscard]] bool terminate_listed(std::string_view session);
  [[nodiscard]] AdminStatements::Process for_statements();

  const ObservedProcess process_;
  Loop loop_;
  HttpService service_;
  Surveyor surveyor_{process_};
  std::optional<HistoryRecorder> recorder_;
  MetricsPage metrics_{process_, surveyor_};
  SessionLister session_lister_{process_};
  std::optional<HttpListener> listener_;
  std::optional<AdminConnections> connections_;
  std::optional<Deadline> next_question_;
  Handle<uv_async_t> stop_;
  std::thread thread_;
};

}  // namespace pgveil::proxy
