// A listening socket, TCP or Unix. An address such as `localhost` has several of them.
#pragma once

#include <sys/types.h>
#include <uv.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "proxy/base/deadline.h"
#include "proxy/base/handle.h"
#include "proxy/base/socket_address.h"
#include "proxy/config/config.h"
#include "proxy/net/socket_stream.h"
#include "proxy/server/listening_socket.h"
#include "proxy/server/worker_pool.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {

class Listener final : private Wakeable {
 public:
  // Binds and listens on each address that the address of `listener` includes. Accepted connections are passed to
  // `workers`, which must outlive the listeners. All these addresses count their clients in `usage`. If this machine
  // does not support the family of one address (IPv4 or IPv6), and another address works, the unsupported address is
  // skipped and logged.
  [[nodiscard]] static tl::expected<std::vector<std::unique_ptr<Listener>>, OpenFailure> open(
      uv_loop_t* loop, const SnapshotListener& listener, WorkerPool& workers,
      const std::shared_ptr<ListenerUsage>& usage);
  // Closes the socket. Removes the file of a Unix socket, if the file still belongs to this socket.
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // Returns the address, with the port that the system chose for port 0.
  [[nodiscard]] const std::string& address() const { return address_; }
  // Uses `listener` for the clients that are accepted from now on. It must have the same address. A setting of the
  // socket that cannot be changed is logged.
  void serve(SnapshotListener listener);
  // Accepts all clients that wait. The listener must be destroyed then.
  void accept_before_close();
  // The same, but clients of a socket of the service manager wait for the next process.
  void accept_before_exit() {
    if (!is_inherited_) accept_before_close();
  }
  // Returns whether another process may take over the address: the socket is the service manager's, or reuse_port is
  // set. If so, this object should be destroyed. The clients that wait in a socket that nobody else has are accepted.
  [[nodiscard]] bool leave_to_successor();

 private:
  Listener(uv_loop_t* loop, SnapshotListener served, WorkerPool& workers,
           std::shared_ptr<ListenerUsage> usage, WatchedSocket socket, bool is_inherited);
  void accept_all();
  void wake() override;  // called after a pause, or when a further client may be accepted
  void watch();
  [[nodiscard]] bool has_room();
  void pause(int error);  // errno
  static void on_readable(uv_poll_t* poll, int status, int events);

  SnapshotListener served_;
  WorkerPool& workers_;
  const std::shared_ptr<ListenerUsage> usage_;
  int descriptor_;
  std::string address_;
  const bool is_inherited_;
  std::optional<SocketFile> file_;
  Handle<uv_poll_t> poll_;
  Deadline pause_;  // set while the process has no descriptors or no memory, or has no room for clients
  bool out_of_descriptors_ = false;
  bool is_full_ = false;  // there was no room for the last client that came
  std::optional<std::chrono::steady_clock::time_point>
      full_told_;  // the time of the last log line about waiting clients
};

}  // namespace pgveil::proxy
