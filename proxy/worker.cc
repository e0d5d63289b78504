#include "proxy/worker.h"

#include <array>
#include <utility>

#include "tls/digest.h"

namespace pgveil::proxy {
namespace {

// Cancel requests do not count as sessions: they must come through when all of those are taken.
constexpr std::size_t kMaxCancels = 256;

// A process starts somewhere else each time, so that two of its runs do not share session ids in a log.
SessionId first_id() {
  std::array<std::uint8_t, 2> bytes{};
  tls::fill_random(bytes);
  return (SessionId{bytes[0]} << 40U) | (SessionId{bytes[1]} << 32U);
}

}  // namespace

Worker::Worker(uv_loop_t* loop, std::shared_ptr<const Snapshot> snapshot)
    : loop_(loop),
      snapshot_(std::move(snapshot)),
      scratch_(snapshot_->config.limits.relay_buffer),
      scram_keyring_(loop),
      password_commands_(loop),
      reaper_(new uv_idle_t),
      next_id_(first_id()) {
  uv_idle_init(loop_, reaper_.get());
  reaper_->data = this;
}

void Worker::adopt(int descriptor, const KernelAddress& peer, const ListenerPolicy& listener,
                   const std::string& listener_address) {
  const SessionId id = ++next_id_;
  auto session =
      std::make_unique<Session>(*this, id, descriptor, peer, snapshot_, listener, listener_address);
  Session& begun = *session;
  sessions_.emplace(id, std::move(session));
  begun.wake();
}

void Worker::shut_down(std::function<void()> when_empty) {
  when_empty_ = std::move(when_empty);
  for (auto& [id, session] : sessions_) session->shut_down();
  if (sessions_.empty())
    uv_idle_start(reaper_.get(), [](uv_idle_t* idle) { static_cast<Worker*>(idle->data)->reap(); });
}

void Worker::abandon() {
  sessions_.clear();
  over_.clear();
}

bool Worker::enter_session() {
  if (established_ >= snapshot_->config.limits.max_sessions) return false;
  ++established_;
  return true;
}

bool Worker::enter_cancel() {
  if (cancels_ >= kMaxCancels) return false;
  ++cancels_;
  return true;
}

// Called from the session's own stack: it is destroyed from the loop.
void Worker::session_over(SessionId id) {
  over_.push_back(id);
  uv_idle_start(reaper_.get(), [](uv_idle_t* idle) { static_cast<Worker*>(idle->data)->reap(); });
}

void Worker::reap() {
  uv_idle_stop(reaper_.get());
  for (const SessionId id : std::exchange(over_, {})) sessions_.erase(id);
  if (sessions_.empty() && when_empty_) std::exchange(when_empty_, nullptr)();
}

}  // namespace pgveil::proxy
