#include "proxy/commands/host_text.h"

namespace pgveil::proxy {

std::string text_of(const UpstreamHost& host) {
  if (host.is_unix()) return "unix:" + host.unix_path();
  const std::string& name = host.host.empty() ? host.hostaddr : host.host;
  std::string text = SocketAddress{.host = name, .port = host.port, .unix_path = ""}.text();
  if (!host.host.empty() && !host.hostaddr.empty()) text += " (" + host.hostaddr + ')';
  return text;
}

}  // namespace pgveil::proxy
