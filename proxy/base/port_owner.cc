#include "proxy/base/port_owner.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <system_error>
#include <utility>

#include "proxy/base/descriptor.h"

namespace pgveil::proxy {
namespace {

namespace filesystem = std::filesystem;

constexpr std::string_view kListening = "0A";  // TCP_LISTEN
// An IPv4 address in the table of IPv6 begins with this text.
constexpr std::string_view kMapped = "0000000000000000FFFF0000";

// Returns the address as the kernel writes it (tcp_ipv4.c: get_tcp4_sock, tcp_ipv6.c: get_tcp6_sock): in words of 32
// bits.
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

std::string content_of(const filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

bool has_socket(const filesystem::path& process, const std::vector<ListeningSocket>& sockets) {
  std::error_code error;
  for (filesystem::directory_iterator entry(process / "fd", error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code unreadable;
    const auto target = filesystem::read_symlink(entry->path(), unreadable).string();
    const auto is_it = [&target](const ListeningSocket& socket) {
      return target == fmt::format("socket:[{}]", socket.inode);
    };
    if (!unreadable && std::any_of(sockets.begin(), sockets.end(), is_it)) return true;
  }
  return false;
}

template <class Number>
std::optional<Number> number_in(std::string_view text) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::string name_of_process(pid_t process) {
  std::string name = content_of(fmt::format("/proc/{}/comm", process));
  name.erase(std::min(name.find('\n'), name.size()));
  return name;
}

std::optional<PortOwner> owner_of(const std::vector<ListeningSocket>& sockets) {
  if (sockets.empty()) return std::nullopt;
  std::error_code error;
  for (filesystem::directory_iterator entry("/proc", error), end; !error && entry != end;
       entry.increment(error)) {
    const auto process = number_in<pid_t>(entry->path().filename().string());
    if (process && has_socket(entry->path(), sockets))
      return PortOwner{*process, name_of_process(*process), sockets[0].user};
  }
  return PortOwner{0, "", sockets[0].user};
}

// Asks the kernel for the process that called listen() (SO_PEERCRED, unix(7)). Other users may know it, too.
std::optional<PortOwner> owner_of_unix_socket(const KernelAddress& address) {
  const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  ucred owner{};
  socklen_t size = sizeof owner;
  if (::connect(probe.get(), address.get(), address.size) != 0 ||
      ::getsockopt(probe.get(), SOL_SOCKET, SO_PEERCRED, &owner, &size) != 0)
    return std::nullopt;
  return PortOwner{owner.pid, name_of_process(owner.pid), owner.uid};
}

// Returns whether a socket that is bound to `bound` keeps another one from `wanted`, and has the same family.
bool is_same_or_all(std::string_view bound, std::string_view wanted) {
  return bound == wanted || is_wildcard(bound) || is_wildcard(wanted);
}

// Calls `add` with the address and the socket of each row of `table` that listens on `port`.
template <class Add>
void for_each_listening(std::string_view table, std::uint16_t port, const Add& add) {
  const std::string wanted_port = fmt::format("{:04X}", port);
  std::istringstream lines{std::string(table)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream columns(line);
    const std::vector<std::string> words{std::istream_iterator<std::string>(columns), {}};
    if (words.size() < 10 || words[3] != kListening) continue;
    const auto colon = words[1].find(':');
    if (colon == std::string::npos || words[1].substr(colon + 1) != wanted_port) continue;
    const auto user = number_in<uid_t>(words[7]);
    if (user) add(std::string_view(words[1]).substr(0, colon), ListeningSocket{words[9], *user});
  }
}

}  // namespace

std::vector<ListeningSocket> conflicting_sockets(const ListeningTables& tables,
                                                 const KernelAddress& address) {
  const std::string wanted = hexadecimal(address);
  const std::uint16_t port = port_of(address);
  const bool is_ipv4 = address.family() == AF_INET;
  std::vector<ListeningSocket> found, of_all_addresses;
  if (is_ipv4)
    for_each_listening(tables.ipv4, port, [&](std::string_view bound, ListeningSocket socket) {
      if (is_same_or_all(bound, wanted)) found.push_back(std::move(socket));
    });
  for_each_listening(tables.ipv6, port, [&](std::string_view bound, ListeningSocket socket) {
    const bool is_mapped = bound.starts_with(kMapped);
    if (is_ipv4 && is_wildcard(bound))
      of_all_addresses.push_back(std::move(socket));
    else if (is_ipv4 == is_mapped && is_same_or_all(is_mapped ? bound.substr(kMapped.size()) : bound, wanted))
      found.push_back(std::move(socket));
  });
  return found.empty() ? of_all_addresses : found;
}

std::optional<PortOwner> owner_of_port(const KernelAddress& address) {
  if (address.is_unix()) return owner_of_unix_socket(address);
  const std::string ipv4 = content_of("/proc/net/tcp");
  const std::string ipv6 = content_of("/proc/net/tcp6");
  return owner_of(conflicting_sockets({ipv4, ipv6}, address));
}

}  // namespace pgveil::proxy
