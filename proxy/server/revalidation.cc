#include "proxy/server/revalidation.h"

#include <cstdint>
#include <new>
#include <set>
#include <utility>
#include <vector>

#include "proxy/diagnostics/log.h"

namespace pgveil::proxy {
namespace {

// The time after which the loop serves its sockets again, in nanoseconds. One check takes a few microseconds, or up to a
// millisecond if a certificate has not been verified in this pass.
constexpr std::uint64_t kTurn = 2'000'000;

}  // namespace

Revalidation::Revalidation(uv_loop_t* loop, const Sessions& sessions, unsigned worker)
    : sessions_(sessions), worker_(worker), idle_(new uv_idle_t) {
  uv_idle_init(loop, idle_.get());
  idle_->data = this;
}

void Revalidation::begin(std::shared_ptr<const Snapshot> snapshot) {
  if (snapshot->reload.sessions != ReloadSessions::revalidate) return stop();
  // The sessions that an interrupted pass has not checked come first.
  std::vector<SessionId> unchecked;
  if (pass_ && pass_->left) unchecked = *std::move(pass_->left);
  pass_.emplace();
  pass_->snapshot = std::move(snapshot);
  pass_->first = std::move(unchecked);
  uv_idle_start(idle_.get(), [](uv_idle_t* idle) { static_cast<Revalidation*>(idle->data)->turn(); });
}

void Revalidation::stop() {
  uv_idle_stop(idle_.get());
  pass_.reset();
}

// Without memory, the next turn of the loop tries again.
void Revalidation::turn() {
  try {
    if (!check_some(*pass_)) return;
    log(*pass_);
  } catch (const std::bad_alloc&) {
    return;
  }
  stop();
}

// Returns whether the pass is complete.
bool Revalidation::check_some(RevalidationPass& pass) {
  if (!pass.left) {
    std::vector<SessionId> ids;
    ids.reserve(sessions_.size() + pass.first.size());
    const std::set<SessionId> first(pass.first.begin(), pass.first.end());
    for (const auto& [id, session] : sessions_)
      if (!first.contains(id)) ids.push_back(id);
    for (const SessionId id : pass.first) ids.push_back(id);  // the last one is checked first
    pass.left = std::move(ids);
  }
  const std::uint64_t end = uv_hrtime() + kTurn;
  while (!pass.left->empty()) {
    check_next(pass);
    if (uv_hrtime() >= end) break;
  }
  return pass.left->empty();
}

// A session that has ended meanwhile is skipped.
void Revalidation::check_next(RevalidationPass& pass) {
  const auto found = sessions_.find(pass.left->back());
  pass.left->pop_back();
  if (found == sessions_.end()) return;
  switch (found->second->revalidate(*pass.snapshot, pass.verdicts)) {
    case Session::Revalidation::admitted: ++pass.admitted; break;
    case Session::Revalidation::ending: ++pass.ended; break;
    case Session::Revalidation::without_data: ++pass.without_data; break;
    case Session::Revalidation::not_due: break;
  }
}

void Revalidation::log(const RevalidationPass& pass) const {
  const std::uint64_t checked = pass.admitted + pass.ended;
  if (checked + pass.without_data == 0) return;
  LogLine(LogLevel::info, "sessions_revalidated")
      .add("worker", std::uint64_t{worker_})
      .add("checked", checked)
      .add("ended", std::uint64_t{pass.ended})
      .add("without_data", std::uint64_t{pass.without_data});
}

}  // namespace pgveil::proxy
