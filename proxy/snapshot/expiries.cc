#include "proxy/snapshot/expiries.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <system_error>
#include <utility>

namespace pgveil::proxy {
namespace {

using tls::Expiry;

class Collector {
 public:
  void add_file(const std::string& file, Expiry::Kind kind) {
    if (file.empty() || !files_.insert(file).second) return;
    auto found = tls::expiries_in(file, kind);
    std::ranges::move(found, std::back_inserter(expiries_));
  }
  void add_crl_directory(const std::string& directory) {
    if (directory.empty()) return;
    for (const std::string& path : tls::crl_files_in(directory)) add_file(path, Expiry::Kind::crl);
  }
  // Adds ROLE.crt of each role, in the order of their names.
  void add_role_certificates(const std::string& directory) {
    if (directory.empty()) return;
    std::set<std::string> paths;
    std::error_code error;
    for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
         entry.increment(error))
      if (entry->path().extension() == ".crt") paths.insert(entry->path());
    for (const std::string& path : paths) add_file(path, Expiry::Kind::certificate);
  }
  [[nodiscard]] std::vector<Expiry> release() { return std::move(expiries_); }

 private:
  std::set<std::string> files_;
  std::vector<Expiry> expiries_;
};

}  // namespace

std::vector<Expiry> expiries_of(const Config& config) {
  Collector collector;
  for (const ListenerConfig& listener : config.listeners) {
    for (const auto& certificate : listener.tls.certificates)
      collector.add_file(certificate.ssl_cert_file, Expiry::Kind::certificate);
    collector.add_file(listener.tls.ssl_ca_file, Expiry::Kind::authority);
    collector.add_file(listener.tls.ssl_crl_file, Expiry::Kind::crl);
    collector.add_crl_directory(listener.tls.ssl_crl_dir);
  }
  for (const auto& [name, upstream] : config.upstreams) {
    if (!upstream.uses_tls()) continue;
    const tls::ClientSettings& settings = upstream.tls;
    collector.add_file(settings.sslcert, Expiry::Kind::certificate);
    if (settings.sslrootcert != tls::kSystemTrust)
      collector.add_file(settings.sslrootcert, Expiry::Kind::authority);
    collector.add_file(settings.sslcrl, Expiry::Kind::crl);
    collector.add_crl_directory(settings.sslcrldir);
    collector.add_role_certificates(upstream.role_certificates);
  }
  return collector.release();
}

std::vector<ServerExpiry> server_expiries(const Snapshot& snapshot) {
  std::vector<ServerExpiry> expiries;
  for (const auto& upstream : used_upstreams(snapshot))
    if (const auto tls = upstream->status->values().tls; tls && tls->peer)
      expiries.push_back({upstream->config.name, tls::expiry_of(*tls->peer)});
  return expiries;
}

}  // namespace pgveil::proxy
