#include "proxy/admin/process_usage.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>

namespace pgveil::proxy {
namespace {

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

// Fields of /proc/self/stat (proc(5)) that are needed here.
struct Stat {
  double threads = 0;         // field 20
  double started = 0;         // field 22, in clock ticks since boot
  double virtual_bytes = 0;   // field 23
  double resident_pages = 0;  // field 24
};

std::optional<Stat> read_stat() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  // The name of the program, in parentheses, may contain spaces.
  if (!std::getline(file, line) || line.rfind(')') == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  Stat stat;
  std::string ignored;
  for (int field = 3; field < 20; ++field) fields >> ignored;
  fields >> stat.threads >> ignored >> stat.started >> stat.virtual_bytes >> stat.resident_pages;
  return fields ? std::optional(stat) : std::nullopt;
}

// Returns the time of the boot in seconds since 1970.
std::optional<double> boot_time() {
  std::ifstream file("/proc/stat");
  std::string word;
  double seconds = 0;
  while (file >> word)
    if (word == "btime") return file >> seconds ? std::optional(seconds) : std::nullopt;
  return std::nullopt;
}

// Returns the number of open descriptors, without the one that counts them.
std::optional<double> open_descriptors() {
  struct Close {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  const std::unique_ptr<DIR, Close> directory(::opendir("/proc/self/fd"));
  if (!directory) return std::nullopt;
  double count = -1;
  while (const dirent* entry = ::readdir(directory.get()))
    if (entry->d_name[0] != '.') ++count;
  return count;
}

void add_stat(const Stat& stat, ProcessUsage& usage) {
  usage.virtual_bytes = stat.virtual_bytes;
  usage.resident_bytes = stat.resident_pages * static_cast<double>(::sysconf(_SC_PAGESIZE));
  usage.threads = stat.threads;
  if (const auto boot = boot_time())
    usage.started = *boot + stat.started / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}  // namespace

ProcessUsage process_usage() {
  ProcessUsage usage;
  usage.open_descriptors = open_descriptors();
  rusage resources{};
  if (::getrusage(RUSAGE_SELF, &resources) == 0)
    usage.processor_seconds = seconds_of(resources.ru_utime) + seconds_of(resources.ru_stime);
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) usage.max_descriptors = static_cast<double>(limit.rlim_cur);
  if (const auto stat = read_stat()) add_stat(*stat, usage);
  return usage;
}

}  // namespace pgveil::proxy
