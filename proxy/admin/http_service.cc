#include "proxy/admin/http_service.h"

namespace pgveil::proxy {
namespace {

// Browsers send these fields. An operator who has a page of an attacker open must not give orders by that.
bool is_from_other_origin(const HttpRequest& request) {
  if (!request.sec_fetch_site.empty()) return request.sec_fetch_site != "same-origin";
  return !request.origin.empty();
}

}  // namespace

HttpResponse HttpService::answer(const HttpRequest& request) const {
  if (!accepts(hosts_, request.host))
    return {
        .status = 421,
        .body =
            "requests for this host name are refused; use an IP address or localhost, or a Unix socket\n"};
  const bool is_page = pages_.contains(request.path);
  const bool is_order = orders_.contains(request.path);
  if (!is_page && !is_order) return {.status = 404, .body = "page not found\n"};
  if (is_page && (request.method == "GET" || request.method == "HEAD"))
    return pages_.find(request.path)->second(request);
  if (!is_order || request.method != "POST")
    return {.status = 405, .body = is_page ? "use GET\n" : "use POST\n"};
  if (is_from_other_origin(request))
    return {.status = 403, .body = "requests of web pages of another origin are refused\n"};
  return orders_.find(request.path)->second(request);
}

}  // namespace pgveil::proxy
