#include "proxy/snapshot/expiries.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace pgveil::proxy {
namespace {

using tls::Expiry;

// Returns whether OpenSSL finds a CRL under this name, such as "5fa4b2c1.r0".
bool is_hashed_crl(std::string_view name) {
  return name.find_first_not_of("0123456789abcdef") == 8 && name.substr(8, 2) == ".r";
}

class Collector {
 public:
  void add_file(const std::string& file, Expiry::Kind kind) {
    if (file.empty() || !files_.insert(file).second) return;
    auto found = tls::expiries_in(file, kind);
    std::ranges::move(found, std::back_inserter(expiries_));
  }
  // Adds the files whose name `is_wanted` accepts, in the order of their names.
  template <class IsWanted>
  void add_directory(const std::string& directory, Expiry::Kind kind, const IsWanted& is_wanted) {
    if (directory.empty()) return;
    std::set<std::string> paths;
    std::error_code error;
    for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
         entry.increment(error))
      if (is_wanted(entry->path().filename().string())) paths.insert(entry->path());
    for (const std::string& path : paths) add_file(path, kind);
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
    collector.add_directory(listener.tls.ssl_crl_dir, Expiry::Kind::crl, is_hashed_crl);
  }
  for (const auto& [name, upstream] : config.upstreams) {
    if (!upstream.uses_tls()) continue;
    const tls::ClientSettings& settings = upstream.tls;
    collector.add_file(settings.sslcert, Expiry::Kind::certificate);
    if (settings.sslrootcert != tls::kSystemTrust)
      collector.add_file(settings.sslrootcert, Expiry::Kind::authority);
    collector.add_file(settings.sslcrl, Expiry::Kind::crl);
    collector.add_directory(settings.sslcrldir, Expiry::Kind::crl, is_hashed_crl);
    collector.add_directory(upstream.role_certificates, Expiry::Kind::certificate,
                            [](std::string_view file) { return file.ends_with(".crt"); });
  }
  return collector.release();
}

}  // namespace pgveil::proxy
