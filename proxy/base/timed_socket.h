// A TCP connection or one over a Unix socket, whose calls wait until a deadline, for a command that does one thing at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "proxy/base/descriptor.h"
#include "proxy/base/socket_address.h"

namespace pgveil::proxy {

class TimedSocket {
 public:
  using Clock = std::chrono::steady_clock;
  using Error = std::string;  // in the words of the system, or "no answer in time"

  // Connects, or returns why that is not possible. Each later call waits until `deadline` at most.
  [[nodiscard]] static tl::expected<TimedSocket, Error> connect(const KernelAddress& address,
                                                                Clock::time_point deadline);
  void set_deadline(Clock::time_point deadline) { deadline_ = deadline; }

  // Sends all of it. Returns the error, if any.
  [[nodiscard]] std::optional<Error> send(std::span<const std::uint8_t> bytes);
  // Returns what one read returns, `most` bytes or fewer; nothing at the end of the peer's side. After the deadline nothing is
  // read, even if the peer still sends.
  [[nodiscard]] tl::expected<std::vector<std::uint8_t>, Error> receive(std::size_t most);

 private:
  TimedSocket(Descriptor descriptor, Clock::time_point deadline)
      : descriptor_(std::move(descriptor)), deadline_(deadline) {}

  Descriptor descriptor_;
  Clock::time_point deadline_;
};

// The error of a call whose deadline has passed.
inline constexpr const char* kNoAnswer = "no answer in time";
// The error of a caller that has received nothing and needs more.
inline constexpr const char* kServerClosed = "the server closed the connection";
// The error of a caller that has received more than it takes.
inline constexpr const char* kAnswerTooLarge = "the answer is too large";

}  // namespace pgveil::proxy
