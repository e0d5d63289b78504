#include "proxy/session/login_limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "proxy/config/number_values.h"

namespace pgveil::proxy {
namespace {

using std::chrono::milliseconds;

// The maximum number of logins of one address that wait after a failed one.
constexpr int kMaxWaitingLogins = 4;

const ListenerLimits& limits_of(const SessionContext& context) {
  return context.policy().config.limits;
}

bool has_reserved_sessions(const ListenerLimits& limits, const std::string& database_user) {
  return std::ranges::find(limits.reserved_sessions_for, database_user) != limits.reserved_sessions_for.end();
}

// Returns the maxima of the process and the listener, without regard to reserved sessions.
SessionRegistration::MaxSessions max_sessions(const SnapshotListener& listener) {
  return {.of_process = listener.limits().max_sessions,
          .of_listener = listener.policy().config.limits.max_sessions};
}

}  // namespace

LoginGate::State LoginGate::advance() {
  if (!std::exchange(has_begun_, true)) return begin();
  return waits() ? State::waiting : State::open;
}

LoginGate::State LoginGate::begin() {
  const ListenerLimits& limits = limits_of(context_);
  if (limits.login_rate.count == 0 && limits.failed_login_delay.count() == 0) return State::open;
  const auto address = ClientNetwork::of(context_.origin.address());
  if (!address) return State::open;
  LoginThrottle& logins = context_.registration.listener().logins;
  const auto now = LoginThrottle::Clock::now();
  if (limits.login_rate.count > 0 && !logins.take(*address, limits.login_rate, now))
    return refuse({.reason = Reason::login_rate_exceeded,
                   .detail = fmt::format("{} has had more logins than login_rate = \"{}\" allows.",
                                         address->text(), values::RateValue::show(limits.login_rate)),
                   .hint = "Keep connections open, use a pool, or raise login_rate of the listener."});
  if (limits.failed_login_delay.count() == 0) return State::open;
  // The login needs time afterwards, also if the client was slow before, and waiting clients use memory.
  const auto timeout = context_.limits().startup_timeout;
  const auto longest =
      std::min({timeout / 2, context_.deadline.left().value_or(milliseconds(0)) - timeout / 4,
                kMaxWaitingLogins * limits.failed_login_delay});
  const auto latest = now + longest;
  const auto start = logins.reserve(*address, limits.failed_login_delay, now, latest);
  if (start <= now) return State::open;
  if (start > latest)
    return refuse({.reason = Reason::too_many_failed_logins,
                   .detail = fmt::format(
                       "After a failed login of {}, other logins wait already for failed_login_delay.",
                       address->text()),
                   .hint = "Correct the password or certificate, and try again later."});
  wait_ = std::make_unique<Deadline>(context_.services.loop, context_.owner);
  wait_->set(std::chrono::ceil<milliseconds>(start - now));
  return State::waiting;
}

LoginGate::State LoginGate::refuse(Ending ending) {
  refusal_ = std::move(ending);
  return State::refused;
}

SessionRegistration::MaxSessions max_unreserved_sessions(const SnapshotListener& listener) {
  auto max = max_sessions(listener);
  if (max.of_listener != 0) max.of_listener -= listener.policy().config.limits.reserved_sessions;
  for (const ListenerPolicy& each : listener.snapshot().listeners) {
    const ListenerLimits& limits = each.config.limits;
    if (limits.max_sessions == 0) max.of_process -= std::min(max.of_process, limits.reserved_sessions);
  }
  return max;
}

std::optional<Reason> enter_session(SessionContext& context, const std::string& database_user) {
  const ListenerLimits& limits = limits_of(context);
  const bool has_reserved = has_reserved_sessions(limits, database_user);
  if (!context.registration.enter_session(has_reserved ? max_sessions(context.listener)
                                                       : max_unreserved_sessions(context.listener)))
    return limits.reserved_sessions == 0 || has_reserved ? Reason::too_many_sessions
                                                         : Reason::sessions_reserved;
  if (limits.max_sessions_per_user > 0 &&
      !context.registration.enter_user(database_user, limits.max_sessions_per_user))
    return Reason::too_many_sessions_of_user;
  const auto address = ClientNetwork::of(context.origin.address());
  if (limits.max_sessions_per_address > 0 && address &&
      !context.registration.enter_address(*address, limits.max_sessions_per_address))
    return Reason::too_many_sessions_of_address;
  return std::nullopt;
}

Ending session_limit_ending(const SessionContext& context, Reason limit, const std::string& database_user) {
  const ListenerLimits& limits = limits_of(context);
  Ending ending{.reason = limit};
  if (limit == Reason::too_many_sessions_of_user) {
    ending.detail =
        fmt::format("User \"{}\" has {} sessions already.", database_user, limits.max_sessions_per_user);
    ending.hint = "Close sessions, or raise max_sessions_per_user of the listener.";
  } else if (limit == Reason::too_many_sessions_of_address) {
    const auto address = ClientNetwork::of(context.origin.address());
    ending.detail = fmt::format("{} has {} sessions already.", address ? address->text() : "The client",
                                limits.max_sessions_per_address);
    ending.hint = "Close sessions, or raise max_sessions_per_address of the listener.";
  } else if (limit == Reason::sessions_reserved) {
    ending.detail = fmt::format("The last {} sessions are reserved.", limits.reserved_sessions);
    ending.hint = "Close sessions, or raise max_sessions.";
  } else if (const auto max = max_sessions(context.listener);
             max.of_listener != 0 && context.registration.listener().sessions.taken() >= max.of_listener) {
    ending.detail = fmt::format("All {} sessions of this listener are in use.", max.of_listener);
    ending.hint = "Raise max_sessions of the listener, or close sessions.";
  } else {
    const bool has_reserved = max_unreserved_sessions(context.listener).of_process < max.of_process;
    ending.detail =
        fmt::format("All {} sessions are in use{}.", max.of_process, has_reserved ? " or reserved" : "");
    ending.hint = "Raise limits.max_sessions, or close sessions.";
  }
  return ending;
}

bool is_failed_login(Reason reason) {
  switch (reason) {
    case Reason::password_wrong:
    case Reason::channel_binding_failed:
    case Reason::client_certificate_invalid:
    case Reason::client_certificate_required:
    case Reason::identity_not_mapped:
    case Reason::rejected_by_rule:
    case Reason::admin_database_denied: return true;
    default: return false;
  }
}

void note_failed_login(SessionContext& context) {
  const auto delay = limits_of(context).failed_login_delay;
  if (delay.count() == 0) return;
  if (const auto address = ClientNetwork::of(context.origin.address()))
    context.registration.listener().logins.on_failed_login(*address, delay, LoginThrottle::Clock::now());
}

void note_successful_login(SessionContext& context) {
  if (limits_of(context).failed_login_delay.count() == 0) return;
  if (const auto address = ClientNetwork::of(context.origin.address()))
    context.registration.listener().logins.on_login(*address);
}

}  // namespace pgveil::proxy
