#include "proxy/session/cancel_routes.h"

#include "tls/digest.h"

namespace pgveil::proxy {
namespace {

// The process id and the key in one string, which the destructor wipes.
class RouteName {
 public:
  explicit RouteName(const protocol::CancelRequest& key) {
    text_.reserve(sizeof key.process_id + key.key.size());
    text_.append(reinterpret_cast<const char*>(&key.process_id), sizeof key.process_id);
    // With iterators, append() would make a copy of the key that is not wiped.
    text_.append(reinterpret_cast<const char*>(key.key.data()), key.key.size());
  }
  ~RouteName() { tls::wipe(text_); }
  RouteName(const RouteName&) = delete;
  RouteName& operator=(const RouteName&) = delete;
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace

CancelRoutes::~CancelRoutes() {
  while (!routes_.empty()) {
    auto node = routes_.extract(routes_.begin());
    tls::wipe(node.key());
  }
}

void CancelRoutes::add(const protocol::CancelRequest& key, CancelRoute route) {
  const RouteName name(key);
  const std::lock_guard lock(mutex_);
  routes_.insert_or_assign(name.text(), std::move(route));
}

void CancelRoutes::remove(const protocol::CancelRequest& key) {
  const RouteName name(key);
  std::unique_lock lock(mutex_);
  auto node = routes_.extract(name.text());
  lock.unlock();
  if (node) tls::wipe(node.key());
}

std::optional<CancelRoute> CancelRoutes::find(const protocol::CancelRequest& key) const {
  const RouteName name(key);
  const std::lock_guard lock(mutex_);
  const auto found = routes_.find(name.text());
  return found == routes_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace pgveil::proxy
