// The listeners of the process, and their replacement when a new snapshot takes effect.
#pragma once

#include <uv.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "proxy/admin/process_state.h"
#include "proxy/server/listener.h"
#include "proxy/server/worker_pool.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {

class ListenerSet {
 public:
  // `workers` gets the accepted clients. `loop` and `workers` must outlive the set.
  ListenerSet(uv_loop_t* loop, WorkerPool& workers) : loop_(loop), workers_(workers) {}

  struct Added {
    std::string address;
    std::string upstream;  // its name
  };
  // What replace() has changed. An address has the port that the system chose for port 0.
  struct Change {
    std::vector<Added> added;
    std::vector<std::string> removed;
  };
  // Listens on the addresses of `snapshot`, and no longer on others. A listener whose address stays keeps its socket
  // and the clients that wait in it; clients that are accepted from now on use `snapshot`. If an address cannot be
  // listened on, returns all such failures, and everything stays as it was.
  [[nodiscard]] tl::expected<Change, std::vector<OpenFailure>> replace(
      const std::shared_ptr<const Snapshot>& snapshot);
  // What the admin thread may see of the listeners.
  [[nodiscard]] std::vector<ProcessState::Listener> observe() const;
  // Closes the sockets of all addresses at which another process may listen: further clients are for that process.
  void leave_to_successor();
  // Closes all sockets. The clients that wait in them become sessions.
  void close();

 private:
  // A [[listener]]. An address such as `localhost` has several sockets.
  struct Group {
    SnapshotListener served;
    std::shared_ptr<ListenerUsage> usage;
    std::vector<std::unique_ptr<Listener>> listeners;
  };
  using Groups = std::vector<std::unique_ptr<Group>>;
  class Replacement;

  [[nodiscard]] tl::expected<std::unique_ptr<Group>, OpenFailure> open(
      const SnapshotListener& wanted, const std::shared_ptr<ListenerUsage>& usage);

  uv_loop_t* loop_;
  WorkerPool& workers_;
  Groups groups_;  // in the order of the configuration
};

}  // namespace pgveil::proxy
