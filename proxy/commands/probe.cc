#include "proxy/commands/probe.h"

#include <iostream>

#include "proxy/admin/http_client.h"
#include "proxy/base/exit_code.h"
#include "proxy/commands/shown_page.h"
#include "proxy/commands/terminal_table.h"

namespace pgveil::proxy {

int run_probe(const Probe& probe) {
  constexpr int kOk = 200;
  const auto response = fetch(probe.address, "GET", probe.page, probe.patience);
  if (!response) return print_error(response.error());
  const bool is_positive = response->status == kOk;
  (is_positive ? std::cout : std::cerr) << printable_lines(response->body) << std::flush;
  return is_positive ? kExitOk : kExitUnavailable;
}

}  // namespace pgveil::proxy
