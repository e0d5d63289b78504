#include "proxy/admin/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "proxy/admin/metric_families.h"

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

bool read_stat(Stat& stat) {
  std::ifstream file("/proc/self/stat");
  std::string line;
  // The name of the program, in parentheses, may contain spaces.
  if (!std::getline(file, line) || line.rfind(')') == std::string::npos) return false;
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  std::string ignored;
  for (int field = 3; field < 20; ++field) fields >> ignored;
  fields >> stat.threads >> ignored >> stat.started >> stat.virtual_bytes >> stat.resident_pages;
  return static_cast<bool>(fields);
}

// Returns the time of the boot in seconds since 1970; 0: unknown.
double boot_time() {
  std::ifstream file("/proc/stat");
  std::string word;
  double seconds = 0;
  while (file >> word)
    if (word == "btime") {
      file >> seconds;
      break;
    }
  return seconds;
}

// Returns the number of open descriptors, without the one that counts them; below zero: unknown.
double open_descriptors() {
  struct Close {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  const std::unique_ptr<DIR, Close> directory(::opendir("/proc/self/fd"));
  if (!directory) return -1;
  double count = -1;
  while (const dirent* entry = ::readdir(directory.get()))
    if (entry->d_name[0] != '.') ++count;
  return count;
}

}  // namespace

void add_process_metrics(std::vector<prometheus::MetricFamily>& to) {
  const auto add = [&](MetricFamily family, double value) { to.push_back(family.add({}, value).release()); };
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) == 0)
    add(MetricFamily::counter("process_cpu_seconds_total", "CPU time of the process, user and system."),
        seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
  if (const double count = open_descriptors(); count >= 0)
    add(MetricFamily::gauge("process_open_fds", "Open file descriptors."), count);
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0)
    add(MetricFamily::gauge("process_max_fds", "The largest number of open file descriptors."),
        static_cast<double>(limit.rlim_cur));
  Stat stat;
  if (!read_stat(stat)) return;
  add(MetricFamily::gauge("process_virtual_memory_bytes", "Virtual memory of the process."),
      stat.virtual_bytes);
  add(MetricFamily::gauge("process_resident_memory_bytes", "Resident memory of the process."),
      stat.resident_pages * static_cast<double>(::sysconf(_SC_PAGESIZE)));
  add(MetricFamily::gauge("process_threads", "Threads of the process."), stat.threads);
  if (const double boot = boot_time(); boot > 0)
    add(MetricFamily::gauge("process_start_time_seconds", "When the process started, in seconds since 1970."),
        boot + stat.started / static_cast<double>(::sysconf(_SC_CLK_TCK)));
}

}  // namespace pgveil::proxy
