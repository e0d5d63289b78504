// How many CPUs this process may use, which is less than the machine has wherever somebody has divided it up.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace pgveil::proxy {

struct GrantedCpus {
  unsigned affinity = 1;        // those that the kernel may run it on (sched_setaffinity(2), cpusets)
  std::optional<double> quota;  // how much of them its control groups leave it (cpu.max); nullopt: all

  // The smaller of both, rounded up; at least 1.
  [[nodiscard]] unsigned count() const;
  // "affinity 8, cpu.max 1.5", "affinity 2, cpu.max none"
  [[nodiscard]] std::string text() const;
};

[[nodiscard]] GrantedCpus granted_cpus();

// The smallest quota of the control group that `self` (/proc/self/cgroup) names below `root`
// (/sys/fs/cgroup), and of all those above it: each of them limits what is below. Control groups of version 2
// only; what is missing or cannot be understood limits nothing.
[[nodiscard]] std::optional<double> cpu_quota(const std::filesystem::path& self,
                                              const std::filesystem::path& root);

}  // namespace pgveil::proxy
