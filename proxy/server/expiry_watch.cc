#include "proxy/server/expiry_watch.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <new>
#include <string_view>
#include <utility>

#include "proxy/diagnostics/log.h"

namespace pgveil::proxy {
namespace {

constexpr std::chrono::hours kLookInterval{1};
constexpr std::int64_t kDay = 86'400;

void add_to(LogLine& line, const tls::Expiry& expiry) {
  line.add("kind", tls::name_of(expiry.kind))
      .add("subject", expiry.subject)
      .add("file", expiry.file)
      .add("expires",
           fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(expiry.ends))));
}

void warn(const tls::Expiry& expiry, std::int64_t now) {
  constexpr std::string_view kHint = "Replace the file; pgveil loads it when it changes, or at SIGHUP.";
  if (expiry.ends <= now) {
    LogLine line(LogLevel::error, "certificate_expired");
    add_to(line, expiry);
    line.add("hint", kHint);
  } else {
    LogLine line(LogLevel::warning, "certificate_expires");
    add_to(line, expiry);
    line.add("days_left", static_cast<std::uint64_t>((expiry.ends - now) / kDay)).add("hint", kHint);
  }
}

}  // namespace

bool expires_soon(const tls::Expiry& expiry, std::int64_t now, std::chrono::seconds notice) {
  const std::int64_t third = (expiry.ends - expiry.begins) / 3;
  return expiry.ends - now < std::min<std::int64_t>(notice.count(), third);
}

void ExpiryWatch::watch(std::vector<tls::Expiry> expiries, std::chrono::seconds notice) {
  expiries_ = std::move(expiries);
  notice_ = notice;
  look();
}

void ExpiryWatch::look() {
  next_look_.set(kLookInterval);
  if (notice_.count() == 0) return;
  const std::int64_t now = std::time(nullptr);
  try {
    std::erase_if(told_, [&](const auto& told) { return told.second <= now - kDay; });
    for (const tls::Expiry& expiry : expiries_) {
      if (!expires_soon(expiry, now, notice_)) continue;
      const std::string key =
          fmt::format("{}\n{}\n{}\n{}", tls::name_of(expiry.kind), expiry.file, expiry.subject, expiry.ends);
      if (told_.emplace(key, now).second) warn(expiry, now);
    }
  } catch (const std::bad_alloc&) {
    // Without memory there is no log line; it is due again in an hour.
  }
}

}  // namespace pgveil::proxy
