#include "proxy/upstream/preconnect.h"

#include <algorithm>
#include <new>
#include <utility>

#include "proxy/diagnostics/log.h"

namespace pgveil::proxy {

PreconnectPool::PreconnectPool(const LinkServices& services, Scratch& scratch,
                               std::shared_ptr<const Upstream> upstream, std::size_t wanted,
                               std::chrono::milliseconds attempt_timeout, unsigned worker)
    : loop_(services.loop),
      scratch_(scratch),
      services_(services),
      upstream_(std::move(upstream)),
      wanted_(wanted),
      attempt_timeout_(attempt_timeout),
      worker_(worker),
      schedule_(wanted),
      advancer_(new uv_idle_t),
      alarm_(loop_, *this) {
  uv_idle_init(loop_, advancer_.get());
  advancer_->data = this;
}

PreconnectPool::~PreconnectPool() {
  for (Entry& entry : entries_) entry.link->close(scratch_);
  LogLine(LogLevel::info, "preconnect_stopped")
      .add("upstream", upstream_->config.name)
      .add("worker", worker_)
      .add("made", counts_.made)
      .add("taken", counts_.taken)
      .add("missed", counts_.missed)
      .add("renewed", counts_.renewed)
      .add("failed", counts_.failed);
}

std::unique_ptr<UpstreamLink> PreconnectPool::take(Wakeable& owner) {
  wake();
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    if (!entry->is_ready) {
      ++entry;
      continue;
    }
    // The connection may have ended in this iteration of the event loop.
    if (const auto ending = entry->link->broken_silence(scratch_)) {
      fail(*entry, *ending);
      entry = entries_.erase(entry);
      continue;
    }
    if (entry->is_probe) schedule_.lost_sight_of_probe();
    auto link = std::move(entry->link);
    entries_.erase(entry);
    link->hand_to(owner);
    count(&Counts::taken);
    return link;
  }
  count(&Counts::missed);
  return nullptr;
}

void PreconnectPool::distrust(const ServerAddress& server, const Ending& why) {
  wake();
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const bool leads_there =
        entry->is_ready && entry->link->server()->address.text() == server.address.text();
    if (!leads_there) {
      ++entry;
      continue;
    }
    fail(*entry, why);
    entry->link->close(scratch_);
    entry = entries_.erase(entry);
  }
}

void PreconnectPool::count(std::uint64_t Counts::*what) {
  ++(counts_.*what);
  upstream_->status->count(what);
}

void PreconnectPool::wake() {
  uv_idle_start(advancer_.get(), [](uv_idle_t* idle) {
    uv_idle_stop(idle);
    static_cast<PreconnectPool*>(idle->data)->advance_or_wait();
  });
}

// An exception must not leave a callback of libuv. After a lack of memory the next session that needs a
// connection causes a new attempt.
void PreconnectPool::advance_or_wait() {
  try {
    advance();
  } catch (const std::bad_alloc&) {
    alarm_.clear();
  }
}

void PreconnectPool::advance() {
  for (auto entry = entries_.begin(); entry != entries_.end();)
    entry = advance(*entry) ? std::next(entry) : entries_.erase(entry);
  renew();
  dial();
  set_alarm();
}

// Returns false if the entry must be removed.
bool PreconnectPool::advance(Entry& entry) {
  if (entry.is_ready) {
    if (const auto ending = entry.link->broken_silence(scratch_)) {
      fail(entry, *ending);
      return false;
    }
    if (entry.is_probe && now() - entry.since >= PreconnectSchedule::kProof) {
      entry.is_probe = false;
      schedule_.proven();
      LogLine(LogLevel::info, "preconnect_recovered")
          .add("upstream", upstream_->config.name)
          .add("worker", worker_);
    }
    return true;
  }
  switch (entry.link->advance(scratch_)) {
    case UpstreamLink::State::established:
      entry.is_ready = true;
      entry.link->watch_closely();
      entry.since = now();
      count(&Counts::made);
      return true;
    case UpstreamLink::State::failed: fail(entry, entry.link->failure()); return false;
    case UpstreamLink::State::connecting:
    case UpstreamLink::State::verifying: break;
  }
  if (now() - entry.since < attempt_timeout_) return true;
  fail(entry, entry.link->timed_out("take the connection"));
  return false;
}

// Closes a connection that is too old after its successor is ready, so for a moment there may be one more. If
// the server fails there is no successor, and an old connection is closed anyway: a session would notice its
// failure too late.
void PreconnectPool::renew() {
  const auto is_ready = [](const Entry& entry) { return entry.is_ready; };
  const auto ready = static_cast<std::size_t>(std::count_if(entries_.begin(), entries_.end(), is_ready));
  const auto old = std::find_if(entries_.begin(), entries_.end(),
                                [this](const Entry& entry) { return is_overdue(entry); });
  if (old == entries_.end() || (ready <= wanted_ && !schedule_.is_failing())) return;
  old->link->close(scratch_);
  entries_.erase(old);
  count(&Counts::renewed);
  wake();
}

void PreconnectPool::dial() {
  const auto is_old = [this](const Entry& entry) { return is_overdue(entry); };
  std::size_t count = schedule_.to_dial(now(), entries_.size());
  // Only one successor is dialled at a time, even if several connections are overdue.
  if (entries_.size() == wanted_ && !schedule_.is_failing() &&
      std::any_of(entries_.begin(), entries_.end(), is_old))
    count = 1;
  for (; count > 0; --count) {
    auto& entry = entries_.emplace_back(
        Entry{.link = std::make_unique<UpstreamLink>(services_, upstream_, upstream_->tls,
                                                     static_cast<Wakeable&>(*this), attempt_timeout_),
              .since = now()});
    entry.is_probe = schedule_.dialled();
    // The link must be advanced once to begin; this happens in the next iteration.
    wake();
  }
}

// Writes one log line per outage, for any number of connections and for any time.
void PreconnectPool::fail(const Entry& entry, const Ending& ending) {
  count(&Counts::failed);
  if (!schedule_.failed(now(), entry.is_probe)) return;
  const auto& server = entry.link->server();
  LogLine(LogLevel::warning, "preconnect_failed")
      .add("upstream", upstream_->config.name)
      .add("worker", worker_)
      .add("server", server ? server->address.text() : "")
      .add("reason", describe(ending.reason).name)
      .add("age_ms", static_cast<std::uint64_t>((now() - entry.since).count()))
      .add("detail", ending.detail)
      .add("hint", ending.hint);
}

// Sets the timer to the nearest event that depends on time only.
void PreconnectPool::set_alarm() {
  auto next = schedule_.next_attempt();
  const auto consider = [&next](Time time) { next = next ? std::min(*next, time) : time; };
  for (const Entry& entry : entries_) {
    if (!entry.is_ready) {
      consider(entry.since + attempt_timeout_);
    } else {
      if (entry.is_probe) consider(entry.since + PreconnectSchedule::kProof);
      // For an overdue connection another event will follow, for example its successor is ready.
      if (!is_overdue(entry)) consider(entry.since + upstream_->config.preconnect_max_age);
    }
  }
  if (next) {
    alarm_.set(std::max(*next - now(), Time(1)));
  } else {
    alarm_.clear();
  }
}

bool PreconnectPool::is_overdue(const Entry& entry) const {
  return entry.is_ready && now() - entry.since >= upstream_->config.preconnect_max_age;
}

}  // namespace pgveil::proxy
