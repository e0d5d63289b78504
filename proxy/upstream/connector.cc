#include "proxy/upstream/connector.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace pgveil::proxy {
namespace {

// The delay between attempts at a Unix socket whose queue is full: the first one, doubled up to the last one.
constexpr std::chrono::milliseconds kFirstRetry{5};
constexpr std::chrono::milliseconds kLastRetry{200};

void set_option(int descriptor, int level, int name, int value) {
  ::setsockopt(descriptor, level, name, &value, sizeof value);
}

// Sets the options that libpq's connectNoDelay(), useKeepalives() and setTCPUserTimeout() set.
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

// Returns libpq's text for an attempt.
std::string attempt_name(const ServerAddress& server) {
  if (server.address.is_unix()) return "Connection to server on socket \"" + server.host.unix_path() + "\"";
  const std::string name = server.host.host.empty() ? server.host.hostaddr : server.host.host;
  return "Connection to server at \"" + name + "\" (" + server.address.text() + ")";
}

}  // namespace

KeepaliveTimes keepalive_times(int descriptor) {
  const auto value_of = [descriptor](int name) {
    int value = 0;
    socklen_t size = sizeof value;
    ::getsockopt(descriptor, IPPROTO_TCP, name, &value, &size);
    return value;
  };
  return {
      .idle = value_of(TCP_KEEPIDLE), .interval = value_of(TCP_KEEPINTVL), .count = value_of(TCP_KEEPCNT)};
}

void set_keepalive_times(int descriptor, const KeepaliveTimes& times) {
  set_option(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, times.idle);
  set_option(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, times.interval);
  set_option(descriptor, IPPROTO_TCP, TCP_KEEPCNT, times.count);
}

Connector::Connector(uv_loop_t* loop, Resolver& resolver, const UpstreamConfig& upstream, Wakeable& owner,
                     Course course)
    : loop_(loop),
      resolver_(resolver),
      upstream_(upstream),
      owner_(owner),
      first_host_(course.first_host),
      connected_(std::move(course.connected)),
      retry_(loop, owner),
      report_(std::move(course.earlier_attempts)) {
  if (!course.only) return;
  candidates_.push_back(std::move(*course.only));
  hosts_begun_ = upstream_.hosts.size();
  any_resolved_ = true;
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
      const State state = descriptor_ >= 0            ? finish_connecting()
                          : retry_delay_.count() == 0 ? start_connecting()
                                                      : await_queue();
      if (state != State::failed) return state;
      last_failed_ = Failed::refused;
      candidates_.pop_front();
    } else if (!resolve_next_host()) {
      return State::failed;
    }
  }
}

WatchedSocket Connector::take_socket() {
  return {Descriptor(std::exchange(descriptor_, -1)), std::move(poll_)};
}

bool Connector::skip_address(Failed how, const std::string& what) {
  last_failed_ = how;
  note(describe_attempt(what));
  if (resolution_) {
    resolution_.reset();
  } else if (!candidates_.empty()) {
    close_descriptor();
    candidates_.pop_front();
    retry_delay_ = std::chrono::milliseconds(0);
    retry_.clear();
  }
  return !candidates_.empty() || hosts_left() > 0;
}

bool Connector::skip_host(const std::string& what) {
  if (hosts_left() == 0) return false;
  candidates_.erase(candidates_.begin() + 1, candidates_.end());
  return skip_address(Failed::refused, what);
}

std::size_t Connector::attempts_left() const {
  return std::max<std::size_t>(candidates_.size(), 1) + hosts_left();
}

std::string Connector::describe_attempt(const std::string& what) const {
  if (resolution_) return "Host name \"" + host_.host + "\" could not be resolved: " + what + ".";
  if (candidates_.empty()) return "";
  return attempt_name(candidates_.front()) +
         " failed: " + (retry_delay_.count() > 0 ? "its queue of new connections is full" : what) + ".";
}

Ending Connector::failure(Failed how, std::string detail) const {
  if (out_of_descriptors_)
    return {.reason = Reason::out_of_resources,
            .detail = std::move(detail),
            .hint = "Raise the limit of open files (LimitNOFILE, ulimit -n)."};
  if (!any_resolved_)
    return {
        .reason = Reason::upstream_not_resolved,
        .detail = std::move(detail),
        .hint = "Check the host of upstream \"" + upstream_.name + "\" and the resolver of this machine."};
  if (how == Failed::timed_out)
    return {
        .reason = Reason::upstream_timed_out,
        .detail = std::move(detail),
        .hint = "Check the way to the server, or allow more time with connect_timeout and startup_timeout."};
  return {.reason = Reason::upstream_unreachable,
          .detail = std::move(detail),
          .hint =
              "Check that the server runs there and accepts connections, and that no firewall is in "
              "between."};
}

// Returns false if every host has been tried.
bool Connector::resolve_next_host() {
  if (hosts_left() == 0) return false;
  host_ = upstream_.hosts[(first_host_ + hosts_begun_++) % upstream_.hosts.size()];
  ++attempts_;
  if (!host_.is_unix()) {
    start_resolution(host_);
    return true;
  }
  any_resolved_ = true;
  if (auto address = unix_address(host_.unix_path())) {
    candidates_.push_back({host_, *address});
  } else {
    last_failed_ = Failed::refused;
    note("The path \"" + host_.unix_path() + "\" is too long for a Unix socket.");
  }
  return true;
}

void Connector::start_resolution(const UpstreamHost& host) {
  const std::string& node = host.hostaddr.empty() ? host.host : host.hostaddr;
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  // Parses an address, and looks up no name.
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
  const auto request = std::move(resolution_);
  const Resolver::Answer& answer = *request->answer();
  if (answer.addresses.empty()) {
    last_failed_ = Failed::refused;
    note("Host name \"" + host_.host + "\" could not be resolved: " + answer.error + ".");
  }
  for (const KernelAddress& address : answer.addresses) add_candidate(host_, address);
}

void Connector::add_candidate(const UpstreamHost& host, KernelAddress address) {
  any_resolved_ = true;
  if (address.family() == AF_INET) reinterpret_cast<sockaddr_in*>(address.get())->sin_port = htons(host.port);
  if (address.family() == AF_INET6)
    reinterpret_cast<sockaddr_in6*>(address.get())->sin6_port = htons(host.port);
  // Without TLS a connection must not leave this machine, even if a resolver returns another address.
  if (upstream_.sslmode == SslMode::disable && !address.is_loopback()) {
    note("Address " + address.text() + " is not loopback, and sslmode is disable.");
    return;
  }
  candidates_.push_back({host, address});
}

Connector::State Connector::start_connecting() {
  server_ = candidates_.front();
  const KernelAddress& address = server_->address;
  const auto delay = std::exchange(retry_delay_, std::chrono::milliseconds(0));
  if (delay.count() == 0) ++attempts_;
  if (connected_.get() >= 0) return watch(std::move(connected_)) ? State::connected : State::failed;
  Descriptor socket(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  out_of_descriptors_ = socket.get() < 0 && (errno == EMFILE || errno == ENFILE);
  if (socket.get() < 0) {
    note_attempt(std::strerror(errno));
    return State::failed;
  }
  if (!watch(std::move(socket))) return State::failed;
  if (!address.is_unix()) set_tcp_options(descriptor_, upstream_);
  if (::connect(descriptor_, address.get(), address.size) == 0) return State::connected;
  if (errno == EAGAIN && address.is_unix()) {
    // The queue of the Unix socket is full, and the kernel does not report when there is room. For TCP the
    // kernel waits.
    close_descriptor();
    retry_delay_ = std::clamp(delay * 2, kFirstRetry, kLastRetry);
    retry_.set(retry_delay_);
    return State::connecting;
  }
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

// Returns false, and notes why, if the loop cannot watch the socket.
bool Connector::watch(Descriptor socket) {
  auto watched = watch_socket(loop_, std::move(socket));
  if (watched) {
    descriptor_ = watched->descriptor.release();
    poll_ = std::move(watched->poll);
    return true;
  }
  out_of_descriptors_ = true;
  note_attempt(std::strerror(watched.error()));
  return false;
}

Connector::State Connector::await_queue() {
  if (!retry_.passed()) return State::connecting;
  retry_.clear();
  return start_connecting();
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

void Connector::note(const std::string& sentence) {
  if (!report_.empty() && !sentence.empty()) report_ += ' ';
  report_ += sentence;
}

void Connector::note_attempt(const std::string& what) {
  note(describe_attempt(what));
}

void Connector::close_descriptor() {
  poll_.reset();
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
}

void Connector::on_writable(uv_poll_t* poll, int /*status*/, int /*events*/) {
  auto& self = *static_cast<Connector*>(poll->data);
  uv_poll_stop(poll);
  self.writable_ = true;  // or an error, which SO_ERROR has
  self.owner_.wake();
}

}  // namespace pgveil::proxy
