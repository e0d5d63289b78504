// The sessions of one loop. All functions must be called in the thread that runs the loop, unless their
// comment permits other threads.
#pragma once

#include <uv.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "proxy/base/descriptor.h"
#include "proxy/base/resolver.h"
#include "proxy/net/io_uring.h"
#include "proxy/server/revalidation.h"
#include "proxy/session/labelled_sessions.h"
#include "proxy/session/session.h"
#include "proxy/session/shared_state.h"
#include "proxy/upstream/preconnect_pools.h"
#include "proxy/upstream/upstream_check.h"

namespace pgveil::proxy {

// A client that has been accepted and has no session yet.
struct AcceptedConnection {
  SessionId id;
  Descriptor descriptor;  // non-blocking
  KernelAddress peer;
  SnapshotListener listener;
  std::string listener_address;
  std::shared_ptr<ListenerUsage> usage;  // of the listener
};

class Worker final {
 public:
  // `shared` must outlive the worker. `ring` reads and writes the bytes of established sessions; nullptr: the
  // loop does.
  Worker(uv_loop_t* loop, unsigned number, SharedState& shared, std::shared_ptr<const Snapshot> snapshot,
         std::unique_ptr<Ring> ring);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Starts the pre-established connections and the checks of upstreams, and runs the loop until it has no active handle.
  void run();
  // Begins a session. If the system lacks memory or another resource for it, closes the client's connection.
  void start_session(AcceptedConnection accepted);
  // Uses `snapshot` for pre-established connections, for checks of upstreams, and for sessions that begin from now on. Sessions that
  // have begun keep their snapshot; with reload.sessions = "revalidate", those that the new one would not admit end.
  // If there is no memory, there are no pre-established connections and no checks. Must not be called after shut_down().
  void replace_snapshot(std::shared_ptr<const Snapshot> snapshot);
  // Closes the connections of up to `count` clients for which Session::may_make_room() is true, beginning with the one
  // that came first: newer clients wait for their places. Does nothing if there is room already. `usage`: of the
  // listener whose clients may be closed; null: of any listener.
  void make_room(const ListenerUsage* usage, std::size_t count);
  // Returns what the established sessions do now. Throws std::bad_alloc.
  [[nodiscard]] SessionSurvey survey();
  // Returns all sessions. Throws std::bad_alloc.
  [[nodiscard]] SessionList list() const;
  // Ends the session with this number, if there is one.
  void terminate(SessionId id);
  // Ends each session as soon as it is idle outside a transaction, and refuses clients that are not logged in.
  // `when_empty` is called once no session is left but of clients that have not said yet what they want. CancelRequests
  // are still forwarded.
  void drain(std::function<void()> when_empty);
  // Ends every session; `when_empty` is called once the last one is gone.
  void shut_down(std::function<void()> when_empty);
  // Drops the remaining sessions without a message. Returns their number.
  [[nodiscard]] std::size_t abandon();

  // The look-ups of names. May be read by any thread.
  [[nodiscard]] const Resolver::Counts& lookups() const { return resolver_.counts(); }
  // The number of sessions that have begun and are destroyed. May be called from any thread.
  [[nodiscard]] std::uint64_t ended() const { return ended_.load(std::memory_order_relaxed); }

 private:
  [[nodiscard]] Session* begin(AcceptedConnection& accepted);
  void connect_ahead();
  void preconnect();
  void check_upstreams();
  void stop_connecting();
  void on_closed(SessionId id);
  void reap();
  void reap_soon();
  [[nodiscard]] bool is_empty() const;

  uv_loop_t* loop_;
  const unsigned number_;
  SharedState& shared_;
  const std::unique_ptr<Ring> ring_;
  std::shared_ptr<const Snapshot> snapshot_;
  const bool has_admin_address_;  // from the start to the end, whatever a reload says
  Scratch scratch_;
  HandshakeQueue handshake_queue_;
  Resolver resolver_;
  ScramKeyCache scram_key_cache_;
  PasswordCommands password_commands_;
  PreconnectPools preconnected_;
  std::vector<std::unique_ptr<UpstreamCheck>> upstream_checks_;  // of the first worker only
  SessionServices services_;
  std::optional<LabelledSessions> labelled_;  // before sessions_, which count in it
  std::unordered_map<SessionId, std::unique_ptr<Session>> sessions_;
  Revalidation revalidation_;
  std::vector<SessionId> over_;  // destroyed in the next turn of the loop
  Handle<uv_idle_t> reaper_;
  std::function<void()> when_empty_;
  bool is_draining_ = false;
  std::atomic<std::uint64_t> ended_{0};
};

}  // namespace pgveil::proxy
