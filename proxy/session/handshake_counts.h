// How many TLS handshakes have agreed on which version, cipher and group, and why others have failed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <new>
#include <string>
#include <tuple>
#include <utility>

#include "tls/established.h"
#include "tls/failure.h"

namespace pgveil::proxy {

// Counts by kind. All functions may be called from any thread.
template <class Kind>
class KindCounts {
 public:
  using Counts = std::map<Kind, std::uint64_t>;
  // Further kinds count as Kind::other(). OpenSSL has fewer than this in use.
  static constexpr std::size_t kMaxKinds = 64;

  // Never throws: what there is no memory for is not counted.
  template <class Source>
  void add(const Source& source) noexcept {
    try {
      Kind kind(source);
      const std::lock_guard lock(mutex_);
      if (counts_.size() >= kMaxKinds && !counts_.contains(kind)) kind = Kind::other();
      ++counts_[std::move(kind)];
    } catch (const std::bad_alloc&) {
      return;
    }
  }

  // Adds the counts to `sum`.
  void add_to(Counts& sum) const {
    Counts copy;
    {
      const std::lock_guard lock(mutex_);
      copy = counts_;
    }
    for (const auto& [kind, count] : copy) sum[kind] += count;
  }

 private:
  mutable std::mutex mutex_;
  Counts counts_;
};

// What a handshake has agreed on.
struct HandshakeKind {
  explicit HandshakeKind(const tls::Established& established);
  HandshakeKind() = default;
  [[nodiscard]] static HandshakeKind other();

  std::string version;
  std::string cipher;
  std::string group;
  bool is_post_quantum = false;

  bool operator<(const HandshakeKind& right) const {
    return std::tie(version, cipher, group) < std::tie(right.version, right.cipher, right.group);
  }
};
using HandshakeCounts = KindCounts<HandshakeKind>;

// Why a handshake has failed.
struct FailedHandshakeKind {
  explicit FailedHandshakeKind(const tls::FailureReport& report);
  FailedHandshakeKind() = default;
  [[nodiscard]] static FailedHandshakeKind other();

  std::string failure;  // tls::name_of()
  std::string alert;    // that the peer has sent, such as "unknown ca"; empty: it has sent none

  bool operator<(const FailedHandshakeKind& right) const {
    return std::tie(failure, alert) < std::tie(right.failure, right.alert);
  }
};
using FailedHandshakeCounts = KindCounts<FailedHandshakeKind>;

}  // namespace pgveil::proxy
