// The pages of the admin address: which function answers which request.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "proxy/admin/http_message.h"
#include "proxy/admin/request_host.h"

namespace pgveil::proxy {

class HttpService {
 public:
  using Handler = std::function<HttpResponse(const HttpRequest&)>;

  // Requests for other hosts get status 421.
  explicit HttpService(AcceptedHosts hosts) : hosts_(hosts) {}

  // `path` is the whole path of a request. A page also answers HEAD requests.
  void add_page(const std::string& path, Handler handler) { pages_[path] = std::move(handler); }
  // Answers POST requests, except those that a web page of another origin has sent (status 403).
  void add_order(const std::string& path, Handler handler) { orders_[path] = std::move(handler); }

  [[nodiscard]] HttpResponse answer(const HttpRequest& request) const;

 private:
  using Handlers = std::map<std::string, Handler, std::less<>>;
  const AcceptedHosts hosts_;
  Handlers pages_;
  Handlers orders_;
};

}  // namespace pgveil::proxy
