#include "proxy/session/startup_parameters.h"

#include <strings.h>

#include <algorithm>

#include "proxy/session/admission_checks.h"

namespace pgveil::proxy {
namespace {

bool is_same_setting(std::string_view left, std::string_view right) {
  return left.size() == right.size() && ::strncasecmp(left.data(), right.data(), left.size()) == 0;
}

void set(protocol::StartupMessage& startup, std::string_view name, const FixedOrDefault& value) {
  if (!value.fixed.empty())
    startup.set(name, value.fixed);
  else if (!value.fallback.empty() && startup.find(name).value_or("").empty())
    startup.set(name, value.fallback);
}

// Sets application_name, which the server treats as any other setting: it ignores the case of the name, and
// uses the last value. So all spellings of the name are replaced.
void set_application_name(protocol::StartupMessage& startup, const FixedOrDefault& value) {
  static constexpr std::string_view kName = "application_name";
  auto& parameters = startup.parameters;
  const auto is_it = [](const auto& parameter) { return is_same_setting(parameter.first, kName); };
  if (!value.fixed.empty())
    std::erase_if(parameters, is_it);
  else if (std::any_of(parameters.begin(), parameters.end(), is_it))
    return;
  set(startup, kName, value);
}

bool is_the_protocols(const std::string& name) {
  return name == "user" || name == "database" || name.starts_with("_pq_.");
}

// Returns whether the configuration fixes the value, so that the client's value is not used.
bool is_fixed(const std::string& name, const ListenerConfig& listener) {
  return (name == "options" && !listener.options.fixed.empty()) ||
         (is_same_setting(name, "application_name") && !listener.application_name.fixed.empty());
}

}  // namespace

void set_database(protocol::StartupMessage& startup, const ListenerConfig& listener) {
  if (asks_for_admin_database(listener, startup)) return;
  set(startup, "database", listener.database);
}

void set_parameters(protocol::StartupMessage& startup, const ListenerConfig& listener) {
  set(startup, "options", listener.options);
  set_application_name(startup, listener.application_name);
}

void set_startup_of_admin_database(protocol::StartupMessage& startup, const std::string& user,
                                   const std::string& session) {
  std::erase_if(startup.parameters, [](const auto& parameter) { return !is_the_protocols(parameter.first); });
  startup.set("user", user);
  startup.set(kSessionParameter, session);
}

std::optional<Ending> refuse_parameter(const protocol::StartupMessage& startup,
                                       const ListenerConfig& listener) {
  const auto& allowed = listener.allowed_startup_parameters;
  for (const auto& [name, value] : startup.parameters) {
    if (is_the_protocols(name) || is_fixed(name, listener)) continue;
    const bool is_allowed =
        std::any_of(allowed.begin(), allowed.end(),
                    [&name = name](const auto& candidate) { return is_same_setting(candidate, name); });
    if (!is_allowed)
      return Ending{
          .reason = Reason::parameter_not_allowed,
          .message = "startup parameter \"" + name + "\" is not allowed here",
          .detail =
              "The proxy logs in on behalf of this client, so only allowed_startup_parameters may be sent.",
          .hint = "Set it with SET after the login, or have it added to allowed_startup_parameters."};
  }
  return std::nullopt;
}

}  // namespace pgveil::proxy
