// The number of CPUs that this process may use. It can be smaller than the number of the machine's CPUs, for
// example in a container.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace pgveil::proxy {

struct GrantedCpus {
  unsigned affinity = 1;        // CPUs on which the kernel may run it (sched_setaffinity(2), cpusets)
  std::optional<double> quota;  // CPUs that its control groups allow (cpu.max); nullopt: no limit

  // The smaller of both, rounded up; at least 1.
  [[nodiscard]] unsigned count() const;
  // Returns for example "affinity 8, cpu.max 1.5" or "affinity 2, cpu.max none".
  [[nodiscard]] std::string text() const;
};

[[nodiscard]] GrantedCpus granted_cpus();

// Returns the smallest quota of the control group that the file `self` (/proc/self/cgroup) names in the folder `root`
// (/sys/fs/cgroup), and of all its parents: the quota of a group also limits its children. Reads control groups of
// version 2 only. A file that is missing or cannot be parsed is ignored.
[[nodiscard]] std::optional<double> cpu_quota(const std::filesystem::path& self,
                                              const std::filesystem::path& root);

}  // namespace pgveil::proxy
