#include "proxy/admin/browser_page.h"

#include <fmt/format.h>

#include <cstddef>

#include "protocol/base64.h"
#include "protocol/bytes.h"
#include "tls/digest.h"

namespace pgveil::proxy {
namespace {

// Returns the text between the tags of the first element `name`.
std::string_view text_of_element(std::string_view html, std::string_view name) {
  const std::string open = fmt::format("<{}>", name);
  const std::size_t begin = html.find(open);
  if (begin == std::string_view::npos) return {};
  const std::string_view rest = html.substr(begin + open.size());
  return rest.substr(0, rest.find(fmt::format("</{}>", name)));
}

}  // namespace

std::string csp_hash(std::string_view html, std::string_view name) {
  const std::string_view text = text_of_element(html, name);
  const auto digest = tls::sha256(protocol::as_bytes(text));
  return fmt::format("'sha256-{}'", protocol::encode_base64(digest));
}

HttpResponse browser_page() {
  const std::string policy = fmt::format(
      "default-src 'none'; script-src {}; style-src {}; img-src data:; connect-src 'self'; base-uri 'none'; "
      "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
      csp_hash(status_html(), "script"), csp_hash(status_html(), "style"));
  return {.body = std::string(status_html()),
          .content_type = "text/html; charset=utf-8",
          .fields = {{"Content-Security-Policy", policy},
                     {"Referrer-Policy", "no-referrer"},
                     {"X-Frame-Options", "DENY"}}};
}

}  // namespace pgveil::proxy
