// The page `/`: what /status says, for a browser. It is one HTML file, page/status.html, which CMake puts into the program.
#pragma once

#include <string>
#include <string_view>

#include "proxy/admin/http_message.h"

namespace pgveil::proxy {

// Returns the content of page/status.html.
[[nodiscard]] std::string_view status_html();

// Returns the page, with a Content-Security-Policy that lets only its own script and style run, and only requests to its
// own origin be sent.
[[nodiscard]] HttpResponse browser_page();

// Returns the source for a Content-Security-Policy that allows the text of the first element `name` of the page, without
// attributes: 'sha256-...'.
[[nodiscard]] std::string csp_hash(std::string_view html, std::string_view name);

}  // namespace pgveil::proxy
