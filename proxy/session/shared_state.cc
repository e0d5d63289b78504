#include "proxy/session/shared_state.h"

#include <span>

#include "tls/digest.h"

namespace pgveil::proxy {
namespace {

constexpr std::size_t kMaxCancels = 256;

}  // namespace

SessionRegistration::SessionRegistration(SessionRegistration&& other) noexcept
    : shared_(other.shared_),
      is_unauthenticated_(std::exchange(other.is_unauthenticated_, false)),
      is_session_(std::exchange(other.is_session_, false)),
      is_cancel_(std::exchange(other.is_cancel_, false)),
      cancel_key_(std::exchange(other.cancel_key_, std::nullopt)) {}

SessionRegistration::~SessionRegistration() {
  leave();
  leave_unauthenticated();
}

bool SessionRegistration::enter_session(std::size_t max_sessions) {
  if (!is_session_) is_session_ = shared_.sessions.acquire(max_sessions);
  return is_session_;
}

bool SessionRegistration::enter_cancel() {
  if (!shared_.cancels.acquire(kMaxCancels)) return false;
  is_cancel_ = true;
  leave_unauthenticated();
  if (std::exchange(is_session_, false)) shared_.sessions.release();
  return true;
}

void SessionRegistration::leave_unauthenticated() {
  if (std::exchange(is_unauthenticated_, false)) shared_.unauthenticated_clients.leave();
}

void SessionRegistration::add_cancel_route(const protocol::CancelRequest& key, CancelRoute route) {
  cancel_key_ = key;
  shared_.cancel_routes.add(key, std::move(route));
}

void SessionRegistration::leave() {
  if (std::exchange(is_session_, false)) shared_.sessions.release();
  if (std::exchange(is_cancel_, false)) shared_.cancels.release();
  if (!cancel_key_) return;
  shared_.cancel_routes.remove(*cancel_key_);
  tls::wipe(std::span(cancel_key_->key));
  cancel_key_.reset();
}

}  // namespace pgveil::proxy
