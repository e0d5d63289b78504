#include "proxy/commands/shown_page.h"

#include <iostream>
#include <thread>

#include "proxy/admin/http_client.h"
#include "proxy/base/exit_code.h"
#include "proxy/commands/terminal_table.h"

namespace pgveil::proxy {
namespace {

int show_once(const ShownPage& page) {
  constexpr std::string_view kClearScreen = "\x1b[H\x1b[2J";
  constexpr int kForbidden = 403;
  const auto response = fetch(page.address, "GET", page.path, page.patience);
  if (!response) return print_error(response.error());
  if (response->status == kForbidden) return print_refusal(response->body);
  const std::string text = page.text_of(response->body);
  if (text.empty())
    return print_error(page.address.text() + " is not the admin address of a pgveil of this version");
  if (page.watches && page.clears_screen) std::cout << kClearScreen;
  std::cout << printable_lines(text) << std::flush;
  return kExitOk;
}

}  // namespace

int show(const ShownPage& page) {
  constexpr std::chrono::seconds kInterval{2};
  int exit_code = show_once(page);
  while (page.watches && exit_code == kExitOk && std::cout) {
    std::this_thread::sleep_for(kInterval);
    exit_code = show_once(page);
  }
  return exit_code;
}

int print_error(std::string_view error) {
  std::cerr << "error: " << printable_lines(error) << '\n' << std::flush;
  return kExitUnavailable;
}

int print_refusal(std::string_view body) {
  return print_error(body.substr(0, body.find_last_not_of('\n') + 1));
}

}  // namespace pgveil::proxy
