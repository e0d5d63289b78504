#include "proxy/connector.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace pgveil::proxy {
namespace {

void set_option(int descriptor, int level, int name, int value) {
  ::setsockopt(descriptor, level, name, &value, sizeof value);
}

// As libpq's connectNoDelay(), useKeepalives() and setTCPUserTimeout().
void set_tcp_options(int descriptor, const UpstreamConfig& upstream) {
  set_option(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
  if (upstream.keepalives) {
    set_option(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (upstream.keepalives_idle.count() > 0)
      set_option(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, static_cast<int>(upstream.keepalives_idle.count()));
    if (upstream.keepalives_interval.count() > 0)
      set_option(descriptor, IPPROTO_TCP, TCP_KEEPINTVL,
                 static_cast<int>(upstream.keepalives_interval.count()));
    if (upstream.keepalives_count > 0)
      set_option(descriptor, IPPROTO_TCP, TCP_KEEPCNT, upstream.keepalives_count);
  }
  if (upstream.tcp_user_timeout.count() > 0)
    set_option(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT,
               static_cast<int>(upstream.tcp_user_timeout.count()));
}

// libpq's way of naming an attempt.
std::string attempt_name(const ServerAddress& server) {
  if (server.address.is_unix()) return "Connection to server on socket \"" + server.host.unix_path() + "\"";
  const std::string name = server.host.host.empty() ? server.host.hostaddr : server.host.host;
  return "Connection to server at \"" + name + "\" (" + server.address.text() + ")";
}

}  // namespace

Connector::Connector(uv_loop_t* loop, Resolver& resolver, const UpstreamConfig& upstream, Wakeable& owner,
                     std::optional<ServerAddress> only)
    : loop_(loop), resolver_(resolver), upstream_(upstream), owner_(owner) {
  if (only) {
    candidates_.push_back(std::move(*only));
    next_host_ = upstream_.hosts.size();
    any_resolved_ = true;
  }
}

Connector::~Connector() {
  close_descriptor();
}

Connector::State Connector::advance() {
  for (;;) {
    if (resolution_) {
      if (!resolution_->answer()) return State::connecting;
      take_resolved();
    }
    if (!candidates_.empty()) {
      const State state = descriptor_ < 0 ? start_connecting() : finish_connecting();
      if (state != State::failed) return state;
      candidates_.pop_front();
    } else if (!resolve_next_host()) {
      return State::failed;
    }
  }
}

WatchedSocket Connector::take_socket() {
  const int descriptor = std::exchange(descriptor_, -1);
  return poll_ ? WatchedSocket{descriptor, std::move(poll_)} : watch_socket(loop_, descriptor);
}

bool Connector::skip_address(const std::string& why) {
  if (resolution_) {
    report_ += "Host name \"" + host_under_way().host + "\" could not be resolved: " + why + ". ";
    resolution_.reset();
  } else if (!candidates_.empty()) {
    note_attempt(why);
    close_descriptor();
    candidates_.pop_front();
  }
  return !candidates_.empty() || next_host_ < upstream_.hosts.size();
}

Ending Connector::failure() const {
  if (out_of_descriptors_)
    return {.reason = Reason::out_of_resources,
            .detail = report_,
            .hint = "Raise the limit of open files (LimitNOFILE, ulimit -n)."};
  if (!any_resolved_)
    return {
        .reason = Reason::upstream_not_resolved,
        .detail = report_,
        .hint = "Check the host of upstream \"" + upstream_.name + "\" and the resolver of this machine."};
  return {
      .reason = Reason::upstream_unreachable,
      .detail = report_,
      .hint =
          "Check that the server runs there and accepts connections, and that no firewall is in between."};
}

// False where every host has been tried.
bool Connector::resolve_next_host() {
  if (next_host_ >= upstream_.hosts.size()) return false;
  const UpstreamHost& host = upstream_.hosts[next_host_++];
  ++attempts_;
  if (!host.is_unix()) {
    start_resolution(host);
    return true;
  }
  any_resolved_ = true;
  if (auto address = unix_address(host.unix_path())) {
    candidates_.push_back({host, *address});
  } else {
    report_ += "The path \"" + host.unix_path() + "\" is too long for a Unix socket. ";
  }
  return true;
}

void Connector::start_resolution(const UpstreamHost& host) {
  const std::string& node = host.hostaddr.empty() ? host.host : host.hostaddr;
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  // Reads an address, and looks up nothing.
  hints.ai_flags = AI_NUMERICHOST;
  addrinfo* numeric = nullptr;
  if (::getaddrinfo(node.c_str(), nullptr, &hints, &numeric) == 0) {
    for (const addrinfo* info = numeric; info != nullptr; info = info->ai_next)
      add_candidate(host, kernel_address(info->ai_addr, info->ai_addrlen));
    ::freeaddrinfo(numeric);
  } else {
    resolution_ = resolver_.addresses_of(node, owner_);
  }
}

void Connector::take_resolved() {
  const UpstreamHost& host = host_under_way();
  const auto request = std::move(resolution_);
  const Resolver::Answer& answer = *request->answer();
  if (answer.addresses.empty())
    report_ += "Host name \"" + host.host + "\" could not be resolved: " + answer.error + ". ";
  for (const KernelAddress& address : answer.addresses) add_candidate(host, address);
}

void Connector::add_candidate(const UpstreamHost& host, KernelAddress address) {
  any_resolved_ = true;
  if (address.family() == AF_INET) reinterpret_cast<sockaddr_in*>(address.get())->sin_port = htons(host.port);
  if (address.family() == AF_INET6)
    reinterpret_cast<sockaddr_in6*>(address.get())->sin6_port = htons(host.port);
  // Without TLS nothing may leave this machine, whatever a resolver says.
  if (upstream_.sslmode == SslMode::disable && !address.is_loopback()) {
    report_ += "Address " + address.text() + " is not loopback, and sslmode is disable. ";
    return;
  }
  candidates_.push_back({host, address});
}

Connector::State Connector::start_connecting() {
  const KernelAddress& address = candidates_.front().address;
  ++attempts_;
  descriptor_ = ::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor_ < 0) {
    out_of_descriptors_ = errno == EMFILE || errno == ENFILE;
    note_attempt(std::strerror(errno));
    return State::failed;
  }
  if (!address.is_unix()) set_tcp_options(descriptor_, upstream_);
  if (::connect(descriptor_, address.get(), address.size) == 0) return State::connected;
  if (errno != EINPROGRESS) {
    note_attempt(std::strerror(errno));
    close_descriptor();
    return State::failed;
  }
  writable_ = false;
  poll_.reset(new uv_poll_t);
  uv_poll_init(loop_, poll_.get(), descriptor_);
  poll_->data = this;
  uv_poll_start(poll_.get(), UV_WRITABLE, on_writable);
  return State::connecting;
}

Connector::State Connector::finish_connecting() {
  if (!writable_) return State::connecting;
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error == 0) return State::connected;
  note_attempt(std::strerror(error));
  close_descriptor();
  return State::failed;
}

void Connector::note_attempt(const std::string& what) {
  report_ += attempt_name(candidates_.front()) + " failed: " + what + ". ";
}

void Connector::close_descriptor() {
  poll_.reset();
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
}

void Connector::on_writable(uv_poll_t* poll, int /*status*/, int /*events*/) {
  auto& self = *static_cast<Connector*>(poll->data);
  uv_poll_stop(poll);
  self.writable_ = true;  // or an error, which SO_ERROR tells
  self.owner_.wake();
}

}  // namespace pgveil::proxy
