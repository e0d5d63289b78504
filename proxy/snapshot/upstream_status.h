// What was last seen of an upstream: whether one of its servers could be reached and verified, and when. Every thread may
// use it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "proxy/base/socket_address.h"
#include "tls/established.h"

namespace pgveil::proxy {

class UpstreamStatus {
 public:
  using Time = std::chrono::milliseconds;  // of time_now()
  struct Values {
    std::optional<Time>
        connected;  // the last connection that was established, with TLS and verified if TLS is used
    std::optional<KernelAddress> server;          // of this connection
    std::shared_ptr<const tls::Established> tls;  // of this connection; null: it is without TLS
    std::optional<Time> failed;                   // the last attempt that failed
    std::string problem;                          // of this attempt
    bool has_failed = false;                      // the last attempt of all

    // When the last attempt ended; nullopt: there was none.
    [[nodiscard]] std::optional<Time> last_attempt() const { return has_failed ? failed : connected; }
  };

  void note_connected(const KernelAddress& server, std::shared_ptr<const tls::Established> tls);
  void note_failed(std::string problem);
  // What has become of pre-established connections since the start of the process.
  struct Preconnects {
    std::uint64_t made = 0;
    std::uint64_t taken = 0;    // by a session
    std::uint64_t missed = 0;   // sessions for which none was ready
    std::uint64_t renewed = 0;  // closed because of their age
    std::uint64_t failed = 0;   // attempts that failed, and connections that the server closed
  };
  void count(std::uint64_t Preconnects::*what);
  [[nodiscard]] Preconnects preconnects() const;

  // Uses the values of the same upstream in the snapshot before.
  void take_over(const UpstreamStatus& earlier);

  [[nodiscard]] Values values() const;

 private:
  mutable std::mutex mutex_;
  Values values_;
  Preconnects preconnects_;
};

}  // namespace pgveil::proxy
