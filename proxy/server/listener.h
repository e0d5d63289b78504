// A listening socket, TCP or Unix; several of them for an address such as `localhost`.
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
#include "proxy/server/worker_pool.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {

// The group that unix_socket_group names, by its name or its number; nullopt: there is no such group.
[[nodiscard]] std::optional<gid_t> group_id(const std::string& name_or_number);

// Why an address cannot be listened on.
struct OpenFailure {
  std::string text;
  std::string hint;  // sentences
  int error = 0;     // errno; 0: something else
};

class Listener final : private Wakeable {
 public:
  // Binds and listens on each address that the address of `listener` stands for; accepted connections go to
  // `workers`, which must outlive the listeners. An address of a family that this machine
  // does not have is left out, and logged, if another one works.
  [[nodiscard]] static tl::expected<std::vector<std::unique_ptr<Listener>>, OpenFailure> open(
      uv_loop_t* loop, const SnapshotListener& listener, Workers& workers);
  // Closes; removes the file of a Unix socket, if it is still ours.
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // With the port that the system gave.
  [[nodiscard]] const std::string& address() const { return address_; }
  // Serves the clients that come from now on as `listener` says, which has the same address.
  void serve(SnapshotListener listener) { served_ = std::move(listener); }

 private:
  Listener(uv_loop_t* loop, SnapshotListener served, Workers& workers, WatchedSocket socket);
  void wake() override;  // after a pause, or when there is room for a client
  void accept_all();
  void watch();
  [[nodiscard]] bool has_room();
  void pause(const char* error);
  static void on_readable(uv_poll_t* poll, int status, int events);

  SnapshotListener served_;
  Workers& workers_;
  int descriptor_;
  std::string address_;
  std::uint64_t socket_inode_ = 0;  // of a Unix socket's file
  Handle<uv_poll_t> poll_;
  Deadline pause_;  // while the process is out of descriptors or memory
  bool out_of_descriptors_ = false;
  std::optional<std::chrono::steady_clock::time_point>
      full_told_;  // when the log last said that clients wait
};

}  // namespace pgveil::proxy
