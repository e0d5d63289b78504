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
    // The same times by the clock of the day.
    std::chrono::system_clock::time_point connected_at;
    std::chrono::system_clock::time_point failed_at;

    // When the last attempt ended; nullopt: there was none.
    [[nodiscard]] std::optional<Time> last_attempt() const { return has_failed ? failed : connected; }
  };

  void note_connected(const KernelAddress& server, std::shared_ptr<const tls::Established> tls);
  void note_failed(std::string problem);
  // Sets whether an outage has been logged. Returns whether that is a change.
  [[nodiscard]] bool set_outage(bool is_outage);

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

  // Continues the counts of the same upstream in the snapshot before; and what was seen of it, if `keeps_values`.
  void take_over(const UpstreamStatus& earlier, bool keeps_values);

  [[nodiscard]] Values values() const;

 private:
  mutable std::mutex mutex_;
  Values values_;
  bool is_outage_ = false;
  Preconnects preconnects_;
};

}  // namespace pgveil::proxy
