#include "proxy/base/cpu_quota.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <string_view>
#include <thread>

namespace pgveil::proxy {
namespace {

unsigned cpus_of_affinity() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  // Fails if the kernel supports more CPUs than fit into a cpu_set_t: 1024.
  if (::sched_getaffinity(0, sizeof cpus, &cpus) != 0)
    return std::max(std::thread::hardware_concurrency(), 1U);
  return static_cast<unsigned>(std::max(CPU_COUNT(&cpus), 1));
}

// Returns the path of the control group of version 2: the line "0::PATH" of /proc/self/cgroup (cgroups(7)).
std::filesystem::path own_group(const std::filesystem::path& self) {
  constexpr std::string_view kVersion2 = "0::/";
  std::ifstream file(self);
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(kVersion2)) return line.substr(kVersion2.size());
  return {};
}

// Reads cpu.max, which is "QUOTA PERIOD" in microseconds, or "max PERIOD".
std::optional<double> quota_of(const std::filesystem::path& group) {
  std::ifstream file(group / "cpu.max");
  std::uint64_t quota = 0;
  std::uint64_t period = 0;
  if (!(file >> quota >> period) || period == 0) return std::nullopt;
  return static_cast<double>(quota) / static_cast<double>(period);
}

}  // namespace

unsigned GrantedCpus::count() const {
  if (!quota) return std::max(affinity, 1U);
  return static_cast<unsigned>(std::clamp(std::ceil(*quota), 1.0, std::max<double>(affinity, 1)));
}

std::string GrantedCpus::text() const {
  return fmt::format("affinity {}, cpu.max {}", affinity, quota ? fmt::format("{:g}", *quota) : "none");
}

GrantedCpus granted_cpus() {
  return {.affinity = cpus_of_affinity(), .quota = cpu_quota("/proc/self/cgroup", "/sys/fs/cgroup")};
}

std::optional<double> cpu_quota(const std::filesystem::path& self, const std::filesystem::path& root) {
  std::filesystem::path group = own_group(self);
  // The path contains ".." if the process is outside the root of its cgroup namespace (cgroup_namespaces(7)).
  if (std::find(group.begin(), group.end(), "..") != group.end()) group.clear();
  std::optional<double> smallest;
  for (;; group = group.parent_path()) {
    // In a container the path may be that of the host. Then only the root exists, which is the group of the
    // container.
    if (const auto quota = quota_of(root / group)) smallest = std::min(*quota, smallest.value_or(*quota));
    if (group.empty()) return smallest;
  }
}

}  // namespace pgveil::proxy
