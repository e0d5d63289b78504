// What was last seen of an upstream: whether one of its servers could be reached and verified, and when. Every thread may
// use it.
#pragma once

#include <chrono>
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
  // Uses the values of the same upstream in the snapshot before.
  void take_over(const UpstreamStatus& earlier);

  [[nodiscard]] Values values() const;

 private:
  mutable std::mutex mutex_;
  Values values_;
};

}  // namespace pgveil::proxy
