#include "proxy/snapshot/limit_effects.h"

#include <cstddef>
#include <string>
#include <utility>

#include "proxy/config/number_values.h"

namespace pgveil::proxy {
namespace {

// The limits of one listener.
class LimitCheck {
 public:
  LimitCheck(const ParsedConfig& parsed, std::size_t index, ConfigReport& report)
      : listener_(parsed.config.listeners.at(index)),
        limits_(listener_.limits),
        process_(parsed.config.limits),
        locations_(parsed.locations),
        report_(report),
        key_("listener[" + std::to_string(index) + "].") {}

  void check() const {
    if (limits_.max_sessions > process_.max_sessions)
      refuse("max_sessions", "limits.max_sessions is " + std::to_string(process_.max_sessions));
    for (const auto& [key, max] : {std::pair{"max_sessions_per_user", limits_.max_sessions_per_user},
                                   std::pair{"max_sessions_per_address", limits_.max_sessions_per_address}})
      if (max > max_sessions())
        refuse(key, "this listener has " + std::to_string(max_sessions()) + " sessions at most");
    if (limits_.max_unauthenticated_clients > process_.max_unauthenticated_clients)
      refuse("max_unauthenticated_clients",
             "limits.max_unauthenticated_clients is " + std::to_string(process_.max_unauthenticated_clients));
    if (listener_.address.is_unix() && listener_.proxy_protocol_from.is_empty())
      for (const char* key : {"max_sessions_per_address", "login_rate", "failed_login_delay"})
        refuse(key,
               "the clients of a Unix socket have no address, unless a proxy tells it (proxy_protocol_from)");
    check_reserved();
    check_delay();
  }

 private:
  void check_reserved() const {
    if (limits_.reserved_sessions == 0)
      refuse("reserved_sessions_for", "reserved_sessions is not set");
    else if (limits_.reserved_sessions_for.empty())
      add("reserved_sessions", "requires reserved_sessions_for",
          "Name the users that may use these sessions.");
    if (limits_.reserved_sessions >= max_sessions())
      add("reserved_sessions", "leaves no session for other users",
          "Use less than " + std::to_string(max_sessions()) +
              ", which is the maximum number of sessions of this listener.");
  }

  void check_delay() const {
    const auto longest = process_.startup_timeout / 2;
    if (limits_.failed_login_delay > longest)
      add("failed_login_delay",
          "is longer than half of limits.startup_timeout, which is the longest time that a login may wait",
          "Use \"" + values::show_duration(longest) + "\" or less.");
  }

  [[nodiscard]] std::size_t max_sessions() const {
    return limits_.max_sessions == 0 ? process_.max_sessions : limits_.max_sessions;
  }

  void refuse(const std::string& key, const std::string& why) const {
    if (locations_.knows(key_ + key)) add(key, "has no effect: " + why, "Remove it.");
  }
  void add(const std::string& key, std::string message, std::string hint) const {
    report_.add_error(locations_.error_at(key_ + key, std::move(message), std::move(hint)));
  }

  const ListenerConfig& listener_;
  const ListenerLimits& limits_;
  const LimitsConfig& process_;
  const SourceLocations& locations_;
  ConfigReport& report_;
  const std::string key_;
};

}  // namespace

void check_limit_effects(const ParsedConfig& parsed, ConfigReport& report) {
  for (std::size_t index = 0; index < parsed.config.listeners.size(); ++index)
    LimitCheck(parsed, index, report).check();
}

}  // namespace pgveil::proxy
