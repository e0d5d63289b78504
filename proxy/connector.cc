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

// What libuv's resolver threads work on; outlives a connector that goes while the answer is still out.
struct Connector::Resolution {
  uv_getaddrinfo_t request{};
  Connector* connector = nullptr;
  UpstreamHost host;
};

Connector::Connector(uv_loop_t* loop, const UpstreamConfig& upstream, Wakeable& owner,
                     std::optional<ServerAddress> only)
    : loop_(loop), upstream_(upstream), owner_(owner) {
  if (only) {
    candidates_.push_back(std::move(*only));
    next_host_ = upstream_.hosts.size();
    any_resolved_ = true;
  }
}

Connector::~Connector() {
  forget_resolution();
  close_descriptor();
}

Connector::State Connector::advance() {
  for (;;) {
    if (resolution_ != nullptr) return State::connecting;
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
  return {Descriptor(std::exchange(descriptor_, -1)), std::move(poll_)};
}

bool Connector::skip_address(const std::string& why) {
  if (resolution_ != nullptr) {
    report_ += "Host name \"" + resolution_->host.host + "\" could not be resolved: " + why + ". ";
    forget_resolution();
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
  // An address needs no resolver thread.
  hints.ai_flags = AI_NUMERICHOST;
  addrinfo* numeric = nullptr;
  const std::string port = std::to_string(host.port);
  if (::getaddrinfo(node.c_str(), port.c_str(), &hints, &numeric) == 0) {
    add_resolved(host, 0, numeric);
    ::freeaddrinfo(numeric);
    return;
  }
  hints.ai_flags = 0;
  auto* resolution = new Resolution{.request = {}, .connector = this, .host = host};
  resolution->request.data = resolution;
  const int status = uv_getaddrinfo(
      loop_, &resolution->request,
      [](uv_getaddrinfo_t* request, int result, addrinfo* addresses) {
        const std::unique_ptr<Resolution> done(static_cast<Resolution*>(request->data));
        if (auto* connector = done->connector) {
          connector->resolution_ = nullptr;
          connector->add_resolved(done->host, result, addresses);
          connector->owner_.wake();
        }
        uv_freeaddrinfo(addresses);
      },
      node.c_str(), port.c_str(), &hints);
  if (status == 0) {
    resolution_ = resolution;
  } else {
    delete resolution;
    add_resolved(host, status, nullptr);
  }
}

void Connector::forget_resolution() {
  if (resolution_ == nullptr) return;
  resolution_->connector = nullptr;
  uv_cancel(reinterpret_cast<uv_req_t*>(&resolution_->request));  // fails once it is being worked on
  resolution_ = nullptr;
}

void Connector::add_resolved(const UpstreamHost& host, int status, const addrinfo* addresses) {
  if (status != 0) {
    report_ += "Host name \"" + host.host + "\" could not be resolved: " + uv_strerror(status) + ". ";
    return;
  }
  for (const addrinfo* info = addresses; info != nullptr; info = info->ai_next) {
    ServerAddress candidate{host, kernel_address(info->ai_addr, info->ai_addrlen)};
    // Without TLS nothing may leave this machine, whatever a resolver says.
    if (upstream_.sslmode == SslMode::disable && !candidate.address.is_loopback()) {
      report_ += "Address " + candidate.address.text() + " is not loopback, and sslmode is disable. ";
      continue;
    }
    candidates_.push_back(std::move(candidate));
  }
  any_resolved_ = true;
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
  auto watched = watch_socket(loop_, Descriptor(descriptor_));
  if (!watched) {
    descriptor_ = -1;
    out_of_descriptors_ = true;
    note_attempt(std::strerror(watched.error()));
    return State::failed;
  }
  descriptor_ = watched->descriptor.release();
  poll_ = std::move(watched->poll);
  if (!address.is_unix()) set_tcp_options(descriptor_, upstream_);
  if (::connect(descriptor_, address.get(), address.size) == 0) return State::connected;
  if (errno != EINPROGRESS) {
    note_attempt(std::strerror(errno));
    close_descriptor();
    return State::failed;
  }
  writable_ = false;
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
