// Sockets that listen: TCP, or Unix with the file that belongs to it. The service manager may have opened them.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "proxy/base/descriptor.h"
#include "proxy/base/socket_address.h"
#include "proxy/config/config.h"

namespace pgveil::proxy {

// The number of clients that may wait in the kernel's queue.
inline constexpr int kBacklog = 1024;

// Returns the group that unix_socket_group names, by name or by number. nullopt: there is no such group.
[[nodiscard]] std::optional<gid_t> group_id(const std::string& name_or_number);

// Why an address cannot be listened on.
struct OpenFailure {
  std::string text;
  std::string hint;  // sentences
  int error = 0;     // errno; 0: the failure has no errno
};

// Returns the failure of the system call `what`. `hint`: by default, what the error number suggests.
[[nodiscard]] OpenFailure listening_failure(const SocketAddress& address, std::string_view what, int error,
                                            std::string hint = "");

struct OpenSocket {
  Descriptor descriptor;      // non-blocking
  bool is_inherited = false;  // from the service manager
};
// Binds and listens on each address that the address of `config` includes, all with the same port, even if the system
// chooses it. An address whose family (IPv4 or IPv6) this machine does not support is skipped and logged, if another one
// works. The file of a Unix socket gets its permissions and its group before a client can connect.
[[nodiscard]] tl::expected<std::vector<OpenSocket>, OpenFailure> open_listening_sockets(
    const ListenerConfig& config);

// Returns how the admin address is listened on, which must be set.
[[nodiscard]] ListenerConfig listening_config(const AdminConfig& admin);

// The file of a Unix socket that this process listens on. The destructor removes it, if it still belongs to that socket.
// It must run before the socket is closed: after that, another process may replace the file by its own.
class SocketFile {
 public:
  // For a TCP address, an abstract name, and a socket of the service manager there is nothing to remove.
  SocketFile(const SocketAddress& address, bool is_inherited);
  ~SocketFile();
  SocketFile(const SocketFile&) = delete;
  SocketFile& operator=(const SocketFile&) = delete;

 private:
  std::string path_;
  ino_t inode_ = 0;  // 0: there is no file
};

// Sets group and permissions of the file of a Unix socket.
[[nodiscard]] std::optional<OpenFailure> set_socket_file(const ListenerConfig& config);
// Sets the options of a TCP socket that accepted connections inherit, so that they cost no system calls for each client.
void set_client_options(const ListenerConfig& config, int descriptor);

}  // namespace pgveil::proxy
