// What pgveil tells the service manager (sd_notify(3)). Without a service manager that asks for it (NOTIFY_SOCKET), these
// functions have no effect.
#pragma once

#include <string>

namespace pgveil::proxy {

// pgveil listens, or a reload has ended. `status` is for people: `systemctl status` shows it.
void notify_ready(const std::string& status);
// A reload that the service manager may have asked for has begun. notify_ready() must follow.
void notify_reloading();
// pgveil ends.
void notify_stopping();

}  // namespace pgveil::proxy
