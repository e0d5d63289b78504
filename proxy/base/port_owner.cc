#include "proxy/base/port_owner.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <system_error>

namespace pgveil::proxy {
namespace {

namespace filesystem = std::filesystem;

constexpr std::string_view kListening = "0A";  // TCP_LISTEN

// As the kernel writes it (tcp_ipv4.c: get_tcp4_sock, tcp_ipv6.c: get_tcp6_sock): words of 32 bits.
std::string hexadecimal(const KernelAddress& address) {
  if (address.family() == AF_INET)
    return fmt::format("{:08X}", reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_addr.s_addr);
  std::string text;
  const auto& words = reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_addr.s6_addr32;
  for (const std::uint32_t word : words) text += fmt::format("{:08X}", word);
  return text;
}

bool is_wildcard(std::string_view hexadecimal) {
  return hexadecimal.find_first_not_of('0') == std::string_view::npos;
}

// Of an IPv4 address in the table of IPv6: as a mapped address.
bool is_same(std::string_view bound, std::string_view wanted) {
  return bound == wanted || (bound.size() > wanted.size() && bound.ends_with(wanted));
}

std::string content_of(const filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

bool has_socket(const filesystem::path& process, const std::vector<std::string>& inodes) {
  std::error_code error;
  for (filesystem::directory_iterator entry(process / "fd", error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code unreadable;
    const auto target = filesystem::read_symlink(entry->path(), unreadable).string();
    const auto is_it = [&target](const std::string& inode) {
      return target == fmt::format("socket:[{}]", inode);
    };
    if (!unreadable && std::any_of(inodes.begin(), inodes.end(), is_it)) return true;
  }
  return false;
}

std::optional<pid_t> process_of(const filesystem::path& directory) {
  const std::string name = directory.filename();
  pid_t process = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), process);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return process;
}

std::optional<PortOwner> owner_of(const std::vector<std::string>& inodes) {
  std::error_code error;
  for (filesystem::directory_iterator entry("/proc", error), end; !error && entry != end;
       entry.increment(error)) {
    const auto process = process_of(entry->path());
    if (!process || !has_socket(entry->path(), inodes)) continue;
    std::string name = content_of(entry->path() / "comm");
    name.erase(std::min(name.find('\n'), name.size()));
    return PortOwner{*process, std::move(name)};
  }
  return std::nullopt;
}

}  // namespace

std::vector<std::string> listening_inodes(std::string_view table, const KernelAddress& address) {
  const std::string wanted = hexadecimal(address);
  const std::string port = fmt::format("{:04X}", port_of(address));
  std::vector<std::string> inodes;
  std::istringstream lines{std::string(table)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream columns(line);
    const std::vector<std::string> words{std::istream_iterator<std::string>(columns), {}};
    if (words.size() < 10 || words[3] != kListening) continue;
    const auto colon = words[1].find(':');
    if (colon == std::string::npos || words[1].substr(colon + 1) != port) continue;
    const std::string_view bound = std::string_view(words[1]).substr(0, colon);
    if (is_wildcard(bound) || is_wildcard(wanted) || is_same(bound, wanted)) inodes.push_back(words[9]);
  }
  return inodes;
}

std::optional<PortOwner> owner_of_port(const KernelAddress& address) {
  auto inodes = listening_inodes(content_of("/proc/net/tcp6"), address);
  if (address.family() == AF_INET) {
    const auto others = listening_inodes(content_of("/proc/net/tcp"), address);
    inodes.insert(inodes.begin(), others.begin(), others.end());
  }
  return inodes.empty() ? std::nullopt : owner_of(inodes);
}

}  // namespace pgveil::proxy
