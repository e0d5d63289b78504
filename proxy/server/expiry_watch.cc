#include "proxy/server/expiry_watch.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <new>
#include <string_view>
#include <utility>

#include "proxy/diagnostics/log.h"

namespace pgveil::proxy {
namespace {

constexpr std::chrono::hours kLookInterval{1};
constexpr std::int64_t kDay = 86'400;

// `upstream`: empty if the certificate is in a file.
void add_to(LogLine& line, const tls::Expiry& expiry, const std::string& upstream) {
  line.add("kind", tls::name_of(expiry.kind))
      .add("subject", expiry.subject)
      .add("file", expiry.file)
      .add("upstream", upstream)
      .add("expires",
           fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(expiry.ends))));
}

void warn(const tls::Expiry& expiry, const std::string& upstream, std::int64_t now) {
  const std::string_view hint = upstream.empty()
                                    ? "Replace the file; pgveil loads it when it changes, or at SIGHUP."
                                    : "The administrator of this server has to renew its certificate.";
  if (expiry.ends <= now) {
    LogLine line(LogLevel::error, "certificate_expired");
    add_to(line, expiry, upstream);
    line.add("hint", hint);
  } else {
    LogLine line(LogLevel::warning, "certificate_expires");
    add_to(line, expiry, upstream);
    line.add("days_left", static_cast<std::uint64_t>((expiry.ends - now) / kDay)).add("hint", hint);
  }
}

}  // namespace

void ExpiryWatch::watch(std::vector<tls::Expiry> expiries, std::chrono::seconds notice) {
  expiries_ = std::move(expiries);
  notice_ = notice;
  look();
}

void ExpiryWatch::look() {
  next_look_.set(kLookInterval);
  if (notice_.count() == 0) return;
  const std::int64_t now = clock_();
  try {
    std::erase_if(told_, [&](const auto& told) { return told.second <= now - kDay; });
    for (const tls::Expiry& expiry : expiries_) warn_once(expiry, "", now);
    for (const auto& [upstream, expiry] : of_servers_()) warn_once(expiry, upstream, now);
  } catch (const std::bad_alloc&) {
    // Without memory there is no log line; it is due again in an hour.
  }
}

void ExpiryWatch::warn_once(const tls::Expiry& expiry, const std::string& upstream, std::int64_t now) {
  if (!tls::expires_soon(expiry, now, notice_)) return;
  const std::string key = fmt::format("{}\n{}\n{}\n{}\n{}", tls::name_of(expiry.kind), expiry.file,
                                      expiry.subject, expiry.ends, upstream);
  if (told_.emplace(key, now).second) warn(expiry, upstream, now);
}

}  // namespace pgveil::proxy
