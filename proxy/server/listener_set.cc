#include "proxy/server/listener_set.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "proxy/diagnostics/log.h"

namespace pgveil::proxy {
namespace {

// Returns whether a socket that was opened for `old` serves `wanted`, too. SO_REUSEPORT cannot be changed.
bool is_same_socket(const SnapshotListener& old, const SnapshotListener& wanted) {
  const ListenerConfig& before = old.policy().config;
  const ListenerConfig& after = wanted.policy().config;
  return before.address.text() == after.address.text() && before.reuse_port == after.reuse_port;
}

const SocketAddress& address_of(const SnapshotListener& listener) {
  return listener.policy().config.address;
}

}  // namespace

// One call of replace(). The steps that can fail come first.
class ListenerSet::Replacement {
 public:
  Replacement(ListenerSet& set, const std::shared_ptr<const Snapshot>& snapshot) : set_(set) {
    for (std::size_t i = 0; i < snapshot->listeners.size(); ++i) wanted_.emplace_back(snapshot, i);
    next_.resize(wanted_.size());
    inherited_.resize(wanted_.size());
    stays_.resize(set_.groups_.size());
    // With port 0, several listeners may have the same address.
    for (std::size_t i = 0; i < wanted_.size(); ++i)
      for (std::size_t old = 0; old < stays_.size() && !inherited_[i]; ++old)
        if (!stays_[old] && is_same_socket(set_.groups_[old]->served, wanted_[i])) {
          inherited_[i] = old;
          stays_[old] = true;
        }
  }

  // Opens the new addresses. Returns the failures; if there are any, the listeners of before work as before.
  [[nodiscard]] std::vector<OpenFailure> open() {
    std::vector<OpenFailure> failures;
    std::vector<std::size_t> in_use;
    for (std::size_t i = 0; i < wanted_.size(); ++i) {
      if (inherited_[i]) continue;
      auto opened = set_.open(wanted_[i], set_.workers_.new_usage());
      if (opened)
        next_[i] = *std::move(opened);
      else if (opened.error().error == EADDRINUSE && leaves_port(address_of(wanted_[i]).port))
        in_use.push_back(i);
      else
        failures.push_back(std::move(opened).error());
    }
    if (failures.empty() && !in_use.empty()) failures = open_in_place_of_old(in_use);
    return failures;
  }

  // Everything has been opened.
  [[nodiscard]] Change finish() {
    // First, what needs memory and may throw.
    Change change;
    for (std::size_t i = 0; i < wanted_.size(); ++i)
      if (!inherited_[i])
        for (const auto& listener : next_[i]->listeners)
          change.added.push_back({listener->address(), wanted_[i].policy().config.upstream});
    for (std::size_t old = 0; old < stays_.size(); ++old)
      if (!stays_[old])
        for (const auto& listener : set_.groups_[old]->listeners) closed_.push_back(listener->address());
    change.removed = std::move(closed_);

    for (std::size_t old = 0; old < stays_.size(); ++old)
      if (!stays_[old])
        for (const auto& listener : set_.groups_[old]->listeners) listener->accept_before_close();
    for (std::size_t i = 0; i < wanted_.size(); ++i) {
      if (!inherited_[i]) continue;
      next_[i] = std::move(set_.groups_[*inherited_[i]]);
      next_[i]->served = wanted_[i];
      for (const auto& listener : next_[i]->listeners) listener->serve(wanted_[i]);
    }
    set_.groups_ = std::move(next_);
    return change;
  }

 private:
  [[nodiscard]] bool leaves(std::size_t old, std::uint16_t port) const {
    const SocketAddress& address = address_of(set_.groups_[old]->served);
    return !stays_[old] && !address.is_unix() && address.port == port;
  }
  [[nodiscard]] bool leaves_port(std::uint16_t port) const {
    for (std::size_t old = 0; old < stays_.size(); ++old)
      if (leaves(old, port)) return true;
    return false;
  }

  // The kernel does not let a socket for 0.0.0.0 listen beside one for 127.0.0.1 with the same port. So the old one is
  // closed first. For a moment nothing listens there.
  [[nodiscard]] std::vector<OpenFailure> open_in_place_of_old(const std::vector<std::size_t>& in_use) {
    std::vector<std::size_t> closed;
    for (const std::size_t i : in_use)
      for (std::size_t old = 0; old < stays_.size(); ++old)
        if (leaves(old, address_of(wanted_[i]).port) && !set_.groups_[old]->listeners.empty()) {
          for (const auto& listener : set_.groups_[old]->listeners) {
            closed_.push_back(listener->address());
            listener->accept_before_close();
          }
          set_.groups_[old]->listeners.clear();
          closed.push_back(old);
        }
    std::vector<OpenFailure> failures;
    for (const std::size_t i : in_use) {
      if (auto opened = set_.open(wanted_[i], set_.workers_.new_usage()))
        next_[i] = *std::move(opened);
      else
        failures.push_back(std::move(opened).error());
    }
    if (failures.empty()) return failures;
    next_.clear();
    for (const std::size_t old : closed) {
      auto opened = set_.open(set_.groups_[old]->served, set_.groups_[old]->usage);
      if (opened)
        set_.groups_[old] = *std::move(opened);
      else
        failures.push_back(std::move(opened).error());
    }
    return failures;
  }

  ListenerSet& set_;
  std::vector<SnapshotListener> wanted_;               // in the order of the new snapshot
  Groups next_;                                        // by the same index; null: not opened
  std::vector<std::optional<std::size_t>> inherited_;  // by the same index: the old group that stays
  std::vector<bool> stays_;                            // of each old group
  std::vector<std::string> closed_;                    // addresses of old listeners
};

tl::expected<ListenerSet::Change, std::vector<OpenFailure>> ListenerSet::replace(
    const std::shared_ptr<const Snapshot>& snapshot) {
  Replacement replacement(*this, snapshot);
  auto failures = replacement.open();
  if (!failures.empty()) return tl::unexpected(std::move(failures));
  return replacement.finish();
}

// The sockets of `localhost` have one port.
std::vector<ProcessState::Listener> ListenerSet::observe() const {
  std::vector<ProcessState::Listener> observed;
  for (const auto& group : groups_) {
    if (group->listeners.empty()) continue;
    const ListenerConfig& config = group->served.policy().config;
    const std::string first = group->listeners.front()->address();
    const bool is_localhost = config.address.host == kLocalhost;
    observed.push_back(
        {.address = is_localhost ? std::string(kLocalhost) + first.substr(first.rfind(':')) : first,
         .upstream = config.upstream,
         .usage = group->usage,
         .limits = config.limits});
  }
  return observed;
}

void ListenerSet::leave_to_successor() {
  for (const auto& group : groups_)
    std::erase_if(group->listeners, [](const auto& listener) { return listener->leave_to_successor(); });
}

void ListenerSet::close() {
  for (const auto& group : groups_)
    for (const auto& listener : group->listeners) listener->accept_before_exit();
  groups_.clear();
}

tl::expected<std::unique_ptr<ListenerSet::Group>, OpenFailure> ListenerSet::open(
    const SnapshotListener& wanted, const std::shared_ptr<ListenerUsage>& usage) {
  auto listeners = Listener::open(loop_, wanted, workers_, usage);
  if (!listeners) return tl::unexpected(std::move(listeners).error());
  return std::make_unique<Group>(Group{wanted, usage, *std::move(listeners)});
}

}  // namespace pgveil::proxy
