#include "proxy/session/shared_state.h"

#include <limits>
#include <span>

#include "tls/digest.h"

namespace pgveil::proxy {
namespace {

constexpr std::size_t kMaxCancels = 256;

}  // namespace

SessionRegistration::SessionRegistration(SessionRegistration&& other) noexcept
    : shared_(other.shared_),
      listener_(std::move(other.listener_)),
      is_unauthenticated_(std::exchange(other.is_unauthenticated_, false)),
      is_session_(std::exchange(other.is_session_, false)),
      is_cancel_(std::exchange(other.is_cancel_, false)),
      counted_(std::move(other.counted_)),
      cancel_key_(std::exchange(other.cancel_key_, std::nullopt)) {}

SessionRegistration::~SessionRegistration() {
  leave();
  leave_unauthenticated();
}

bool SessionRegistration::enter_session(const MaxSessions& max) {
  if (is_session_) return true;
  const std::size_t of_listener =
      max.of_listener == 0 ? std::numeric_limits<std::size_t>::max() : max.of_listener;
  if (!listener_->sessions.acquire(of_listener)) return false;
  is_session_ = shared_.sessions.acquire(max.of_process);
  if (!is_session_) listener_->sessions.release();
  return is_session_;
}

bool SessionRegistration::enter_user(const std::string& user, std::size_t max) {
  Counted& counted = this->counted();
  std::string counted_user = user;  // before acquire(): it may throw
  if (!listener_->users.acquire(user, max)) return false;
  counted.user = std::move(counted_user);
  return true;
}

bool SessionRegistration::enter_address(const ClientNetwork& address, std::size_t max) {
  Counted& counted = this->counted();
  if (!listener_->addresses.acquire(address, max)) return false;
  counted.address = address;
  return true;
}

SessionRegistration::Counted& SessionRegistration::counted() {
  if (!counted_) counted_ = std::make_unique<Counted>();
  return *counted_;
}

bool SessionRegistration::enter_cancel() {
  if (!shared_.cancels.acquire(kMaxCancels)) return false;
  is_cancel_ = true;
  leave_unauthenticated();
  leave_session();
  return true;
}

void SessionRegistration::leave_unauthenticated() {
  if (!std::exchange(is_unauthenticated_, false)) return;
  shared_.unauthenticated_clients.leave();
  listener_->unauthenticated_clients.leave();
}

void SessionRegistration::add_cancel_route(const protocol::CancelRequest& key, CancelRoute route) {
  cancel_key_ = key;
  shared_.cancel_routes.add(key, std::move(route));
}

void SessionRegistration::leave_session() {
  if (!std::exchange(is_session_, false)) return;
  shared_.sessions.release();
  listener_->sessions.release();
  if (!counted_) return;
  if (counted_->user) listener_->users.release(*counted_->user);
  if (counted_->address) listener_->addresses.release(*counted_->address);
  counted_.reset();
}

void SessionRegistration::leave() {
  leave_session();
  if (std::exchange(is_cancel_, false)) shared_.cancels.release();
  if (!cancel_key_) return;
  shared_.cancel_routes.remove(*cancel_key_);
  tls::wipe(std::span(cancel_key_->key));
  cancel_key_.reset();
}

}  // namespace pgveil::proxy
