#include "proxy/base/service_manager.h"

#include <systemd/sd-daemon.h>

#include <chrono>

namespace pgveil::proxy {
namespace {

void notify(const std::string& lines) {
  static_cast<void>(::sd_notify(0, lines.c_str()));
}

}  // namespace

void notify_ready(const std::string& status) {
  notify("READY=1\nSTATUS=" + status);
}

// With Type=notify-reload, systemd compares the time with that of its signal (CLOCK_MONOTONIC).
void notify_reloading() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  const auto microseconds = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
  notify("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(microseconds));
}

void notify_stopping() {
  notify("STOPPING=1\nSTATUS=finishes its sessions");
}

}  // namespace pgveil::proxy
