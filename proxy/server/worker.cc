#include "proxy/server/worker.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "proxy/diagnostics/reason.h"
#include "proxy/session/session_record.h"

namespace pgveil::proxy {
namespace {

// Writes the log line of a session that cannot begin, if there is memory for it.
void log_not_begun(Reason reason, const AcceptedConnection& accepted, unsigned worker, std::string detail) {
  try {
    Record record;
    record.worker = worker;
    record.client = accepted.peer.text();
    record.listener = accepted.listener_address;
    log_session_closed(record, {}, {.reason = reason, .detail = std::move(detail)}, "");
  } catch (const std::bad_alloc&) {
    // Without memory there is no log line; the client's connection is closed.
  }
}

}  // namespace

Worker::Worker(uv_loop_t* loop, unsigned number, SharedState& shared,
               std::shared_ptr<const Snapshot> snapshot, std::unique_ptr<Ring> ring)
    : loop_(loop),
      number_(number),
      shared_(shared),
      ring_(std::move(ring)),
      snapshot_(std::move(snapshot)),
      has_admin_address_(snapshot_->admin.address.has_value()),
      scratch_(snapshot_->limits.relay_buffer),
      handshake_queue_(loop),
      resolver_(loop),
      scram_key_cache_(loop),
      password_commands_(loop),
      services_{.worker = number,
                .loop = loop,
                .scratch = scratch_,
                .ring = ring_.get(),
                .handshake_queue = handshake_queue_,
                .resolver = resolver_,
                .login = {scram_key_cache_, password_commands_},
                .preconnected = preconnected_,
                .shared = shared,
                .on_closed = [this](SessionId id) { on_closed(id); },
                .newest_snapshot = &snapshot_},
      revalidation_(loop, sessions_, number),
      reaper_(new uv_idle_t) {
  uv_idle_init(loop_, reaper_.get());
  reaper_->data = this;
  if (!has_admin_address_ || !snapshot_->admin.labels.any()) return;
  labelled_.emplace(snapshot_->admin);
  services_.labelled = &*labelled_;
}

void Worker::start_session(AcceptedConnection accepted) {
  const SessionId id = accepted.id;
  if (Session* session = begin(accepted)) return session->wake();
  sessions_.erase(id);
  ended_.store(ended_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

// Returns the new session. If it cannot begin, logs the reason and returns nullptr.
Session* Worker::begin(AcceptedConnection& accepted) {
  const std::shared_ptr<ListenerUsage> usage = accepted.usage;
  SessionRegistration registration(shared_, std::move(accepted.usage));
  try {
    // on_closed() and reap() must not allocate memory.
    if (over_.capacity() <= sessions_.size()) over_.reserve(2 * sessions_.size() + 1);
    auto& session = sessions_[accepted.id];
    auto socket = watch_socket(loop_, std::move(accepted.descriptor));
    if (!socket) {
      log_not_begun(
          Reason::out_of_resources, accepted, number_,
          std::string("The client's socket cannot be watched: ") + std::strerror(socket.error()) + '.');
      usage->metrics[number_ - 1]->on_not_begun(Reason::out_of_resources);
      return nullptr;
    }
    session =
        std::make_unique<Session>(services_, std::move(registration), accepted.id, *std::move(socket),
                                  accepted.peer, std::move(accepted.listener), accepted.listener_address);
    return session.get();
  } catch (const std::bad_alloc&) {
    log_not_begun(Reason::out_of_memory, accepted, number_, "");
    usage->metrics[number_ - 1]->on_not_begun(Reason::out_of_memory);
  }
  return nullptr;
}

void Worker::run() {
  connect_ahead();
  if (!ring_) {
    uv_run(loop_, UV_RUN_DEFAULT);
    return;
  }
  while (ring_->run_once(loop_)) {
  }
}

// The scratch memory only grows, and serves the sessions of all snapshots. If it cannot grow, reads are smaller. No
// exception may leave a callback of libuv.
void Worker::replace_snapshot(std::shared_ptr<const Snapshot> snapshot) {
  snapshot_ = std::move(snapshot);
  stop_connecting();
  revalidation_.begin(snapshot_);
  connect_ahead();
}

void Worker::make_room(const ListenerUsage* usage, std::size_t count) {
  // An earlier call, or a client that has left, may have made room already.
  if (!(usage == nullptr ? shared_.unauthenticated_clients : usage->unauthenticated_clients).is_at_max())
    return;
  std::vector<SessionId> silent;
  try {
    for (const auto& [id, session] : sessions_)
      if ((usage == nullptr || session->is_of(*usage)) && session->may_make_room()) silent.push_back(id);
  } catch (const std::bad_alloc&) {
    // The clients that were found are closed.
  }
  count = std::min(count, silent.size());
  std::ranges::partial_sort(silent, silent.begin() + static_cast<std::ptrdiff_t>(count));
  silent.resize(count);
  for (const SessionId id : silent) sessions_.at(id)->make_room();
}

SessionSurvey Worker::survey() {
  SessionSurvey survey;
  survey.set_sessions(sessions_.size());
  if (labelled_) labelled_->begin_survey();
  for (const auto& [id, session] : sessions_) session->add_to(survey);
  if (labelled_) survey.take(*labelled_);
  return survey;
}

SessionList Worker::list() const {
  SessionList list;
  list.reserve(sessions_.size());
  for (const auto& [id, session] : sessions_)
    if (ListedSession listed = session->list(); listed.phase != SessionPhase::closed)
      list.push_back(std::move(listed));
  return list;
}

void Worker::terminate(SessionId id) {
  const auto session = sessions_.find(id);
  if (session != sessions_.end()) session->second->terminate();
}

void Worker::drain(std::function<void()> when_empty) {
  when_empty_ = std::move(when_empty);
  is_draining_ = true;
  stop_connecting();
  for (auto& [id, session] : sessions_) session->drain();
  if (is_empty()) reap_soon();
}

void Worker::shut_down(std::function<void()> when_empty) {
  when_empty_ = std::move(when_empty);
  is_draining_ = false;
  stop_connecting();
  revalidation_.stop();
  for (auto& [id, session] : sessions_) session->shut_down();
  if (sessions_.empty()) reap_soon();
}

std::size_t Worker::abandon() {
  when_empty_ = nullptr;
  stop_connecting();
  revalidation_.stop();
  reap();
  const std::size_t abandoned = sessions_.size();
  for (auto& [id, session] : sessions_) session->log_abandoned();
  sessions_.clear();
  return abandoned;
}

// Divides the pre-established connections among the workers. If they cannot be divided evenly, the first
// workers have one more.
void Worker::preconnect() {
  for (const auto& [name, upstream] : snapshot_->upstreams) {
    const unsigned all = upstream->config.preconnect;
    const unsigned share = all / shared_.workers + (number_ <= all % shared_.workers ? 1 : 0);
    if (share == 0) continue;
    preconnected_.start(upstream,
                        std::make_unique<PreconnectPool>(services_.for_links(), scratch_, upstream, share,
                                                         snapshot_->limits.startup_timeout, number_));
  }
}

void Worker::connect_ahead() {
  try {
    scratch_.grow(snapshot_->limits.relay_buffer);
    preconnect();
    check_upstreams();
  } catch (const std::bad_alloc&) {
    stop_connecting();
  }
}

// Only what a listener uses is checked.
void Worker::check_upstreams() {
  const AdminConfig& admin = snapshot_->admin;
  if (number_ != 1 || !has_admin_address_ || admin.upstream_check_interval.count() == 0) return;
  for (const auto& upstream : used_upstreams(*snapshot_)) {
    upstream_checks_.push_back(std::make_unique<UpstreamCheck>(services_.for_links(), scratch_, upstream,
                                                               admin.upstream_check_interval,
                                                               snapshot_->limits.startup_timeout));
    upstream_checks_.back()->start();
  }
}

void Worker::stop_connecting() {
  preconnected_.clear();
  upstream_checks_.clear();
}

// The session calls this function, so it must not be destroyed here; the loop destroys it later.
void Worker::on_closed(SessionId id) {
  over_.push_back(id);
  reap_soon();
}

void Worker::reap_soon() {
  uv_idle_start(reaper_.get(), [](uv_idle_t* idle) { static_cast<Worker*>(idle->data)->reap(); });
}

void Worker::reap() {
  uv_idle_stop(reaper_.get());
  std::uint64_t ended = ended_.load(std::memory_order_relaxed);  // only this thread writes it
  for (std::size_t i = 0; i < over_.size(); ++i) ended += sessions_.erase(over_[i]);
  over_.clear();
  ended_.store(ended, std::memory_order_relaxed);
  if (when_empty_ && is_empty()) std::exchange(when_empty_, nullptr)();
}

bool Worker::is_empty() const {
  if (!is_draining_) return sessions_.empty();
  return std::ranges::none_of(sessions_, [](const auto& each) { return each.second->holds_drain(); });
}

}  // namespace pgveil::proxy
