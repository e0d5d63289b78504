// The state that all stages of one session share: the worker's services, the client, the policy of its
// listener, and the observer.
#pragma once

#include <uv.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "proxy/base/deadline.h"
#include "proxy/base/resolver.h"
#include "proxy/login/login_plan.h"
#include "proxy/net/handshake_queue.h"
#include "proxy/net/stream.h"
#include "proxy/session/client_origin.h"
#include "proxy/session/session_list.h"
#include "proxy/session/session_observer.h"
#include "proxy/session/shared_state.h"
#include "proxy/snapshot/snapshot.h"
#include "proxy/upstream/preconnect_pools.h"
#include "proxy/upstream/upstream_link.h"

namespace pgveil::proxy {

// Objects of a worker that its sessions use, in the thread of the worker. They outlive the sessions.
struct SessionServices {
  unsigned worker;  // its number, from 1 on
  uv_loop_t* loop;
  Scratch& scratch;
  Ring* ring;  // for established sessions; nullptr: without io_uring, the loop watches all sockets
  HandshakeQueue& handshake_queue;
  Resolver& resolver;
  LoginServices login;
  PreconnectPools& preconnected;
  SharedState& shared;
  // Is called by a session that has closed. The session must be destroyed later, not inside this call.
  std::function<void(SessionId)> on_closed;
  // The snapshot of sessions that begin now. A session that began under an earlier one asks it at the end of its login.
  // nullptr: there is only one snapshot.
  const std::shared_ptr<const Snapshot>* newest_snapshot = nullptr;
  LabelledSessions* labelled = nullptr;  // nullptr: sessions are not counted by labels

  [[nodiscard]] LinkServices for_links() const { return {loop, handshake_queue, resolver}; }
};

// What is sent with send_proxy_protocol, beside the address of the client.
struct ClientConnection {
  const tls::Established* tls = nullptr;                    // null: without TLS
  std::optional<protocol::ProxyEndpoint> destination = {};  // in the client's PROXY header; nullopt: none
};

struct SessionContext {
  SessionServices& services;
  Wakeable& owner;  // the session; it is woken when its stage may continue
  const SnapshotListener listener;
  ClientOrigin origin;  // changed by ClientOpening only
  std::unique_ptr<Stream> client;
  Deadline deadline;  // of the stage
  SessionRegistration registration;
  SessionObserver observer;

  [[nodiscard]] const ListenerPolicy& policy() const { return listener.policy(); }
  [[nodiscard]] const LimitsConfig& limits() const { return listener.limits(); }
  [[nodiscard]] SessionMetrics& metrics() const {
    return *registration.listener().metrics[services.worker - 1];
  }
  [[nodiscard]] Scratch& scratch() const { return services.scratch; }

  // Begins a connection to a server. All of its attempts together may take the remaining time of the deadline.
  [[nodiscard]] std::unique_ptr<UpstreamLink> dial(std::shared_ptr<const Upstream> upstream,
                                                   std::shared_ptr<const tls::ClientContext> tls,
                                                   const ClientConnection& client_connection,
                                                   Course course = {}) const;
  // Passes the server of `link` to the observer. Formatting the address costs more than one step of a link,
  // so this is called only when the state of the link changes.
  void note_server(const UpstreamLink& link);
};

// Returns the ending for a client that can receive nothing any more: its connection broke, or both sides of it are
// closed.
[[nodiscard]] Ending lost_client_ending(const Stream& client);

// Returns the ending if OpenSSL failed to encrypt or decrypt, which is not the fault of a peer; otherwise nullopt.
// `side`: "client" or "server".
[[nodiscard]] std::optional<Ending> internal_failure(const Stream& stream, std::string_view side);

}  // namespace pgveil::proxy
