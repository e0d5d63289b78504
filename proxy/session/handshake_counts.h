// How many TLS handshakes have agreed on which version, cipher and group.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include "tls/established.h"

namespace pgveil::proxy {

// All functions may be called from any thread.
class HandshakeCounts {
 public:
  struct Kind {
    std::string version;
    std::string cipher;
    std::string group;
    bool is_post_quantum = false;

    bool operator<(const Kind& other) const {
      return std::tie(version, cipher, group) < std::tie(other.version, other.cipher, other.group);
    }
  };
  using Counts = std::map<Kind, std::uint64_t>;
  // Handshakes of further kinds count for the kind that is all "other". OpenSSL has fewer than this in use.
  static constexpr std::size_t kMaxKinds = 64;

  // Never throws: a handshake for which there is no memory is not counted.
  void add(const tls::Established& established) noexcept;
  // Adds the counts to `sum`.
  void add_to(Counts& sum) const;

 private:
  mutable std::mutex mutex_;
  Counts counts_;
};

}  // namespace pgveil::proxy
