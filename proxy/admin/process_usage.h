// What the process uses of the machine, as the kernel tells it.
#pragma once

#include <optional>

namespace pgveil::proxy {

// A number that cannot be read is nullopt.
struct ProcessUsage {
  std::optional<double> processor_seconds;  // user and system
  std::optional<double> open_descriptors;   // without the one that counts them
  std::optional<double> max_descriptors;
  std::optional<double> virtual_bytes;
  std::optional<double> resident_bytes;
  std::optional<double> threads;
  std::optional<double> started;  // in seconds since 1970
};

[[nodiscard]] ProcessUsage process_usage();

}  // namespace pgveil::proxy
