// Everything that sessions share and that never changes: the configuration with its TLS contexts built. Made
// whole or not at all; a session keeps the snapshot that it began under. Only the status of an upstream changes
// (docs/decisions/0026-the-status-of-an-upstream.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "proxy/access/access_rules.h"
#include "proxy/config/config.h"
#include "proxy/config/config_error.h"
#include "proxy/config/config_report.h"
#include "proxy/credentials/upstream_credentials.h"
#include "proxy/credentials/user_secrets.h"
#include "proxy/snapshot/file_digests.h"
#include "proxy/snapshot/upstream_status.h"
#include "tls/client_context.h"
#include "tls/expiry.h"
#include "tls/server_context.h"

namespace pgveil::proxy {

struct Upstream {
  UpstreamConfig config;
  std::shared_ptr<const tls::ClientContext>
      tls;  // null with sslmode = "disable" or where all hosts are Unix sockets
  UpstreamCredentials held;
  // What is seen of it while the snapshot is used. It is the only part that changes.
  std::shared_ptr<UpstreamStatus> status = std::make_shared<UpstreamStatus>();
};

// What a listener's sessions are judged by.
struct ListenerPolicy {
  ListenerConfig config;
  std::shared_ptr<const Upstream> upstream;       // never null
  std::shared_ptr<const tls::ServerContext> tls;  // null where it takes no TLS
  AccessRules rules;
  UserSecrets users;  // of method scram-sha-256
  // What sessions with admin_database have as their upstream. Null: there is no such database.
  std::shared_ptr<const Upstream> admin_database = nullptr;
};

struct Snapshot {
  std::uint64_t number = 0;  // a later snapshot of the process has a larger one
  LimitsConfig limits;
  LogConfig log;
  AuditConfig audit;
  ReloadConfig reload;
  AdminConfig admin;
  std::vector<ListenerPolicy> listeners;                             // in the order of the configuration
  std::map<std::string, std::shared_ptr<const Upstream>> upstreams;  // by name
  ConfigErrors warnings;              // what works, but is probably not intended
  std::vector<tls::Expiry> expiries;  // of the certificates and CRLs that the configuration names
  // Of all files and directories that were read for the snapshot, from before they were read: a file that changed while
  // it was read has another digest now.
  FileDigests files;
};

// Returns whether a listener has an admin database.
[[nodiscard]] bool has_admin_database(const Snapshot& snapshot);
// Returns each upstream that a listener uses, once, in the order of their names.
[[nodiscard]] std::vector<std::shared_ptr<const Upstream>> used_upstreams(const Snapshot& snapshot);

// One listener of a snapshot. It keeps the snapshot: another one may take its place at any time.
class SnapshotListener {
 public:
  SnapshotListener(std::shared_ptr<const Snapshot> snapshot, std::size_t index)
      : snapshot_(std::move(snapshot)), policy_(&snapshot_->listeners.at(index)) {}

  [[nodiscard]] const ListenerPolicy& policy() const { return *policy_; }
  [[nodiscard]] const Snapshot& snapshot() const { return *snapshot_; }
  [[nodiscard]] const LimitsConfig& limits() const { return snapshot_->limits; }

 private:
  std::shared_ptr<const Snapshot> snapshot_;
  const ListenerPolicy* policy_;
};

// Loads what the configuration names: certificates, keys, trust, CRLs. Otherwise returns
// all errors and warnings at once.
[[nodiscard]] tl::expected<std::shared_ptr<const Snapshot>, ConfigReport> build_snapshot(
    const ParsedConfig& parsed);

}  // namespace pgveil::proxy
