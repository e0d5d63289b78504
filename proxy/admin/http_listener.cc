#include "proxy/admin/http_listener.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <new>
#include <utility>

namespace pgveil::proxy {
namespace {

// The most connections that are accepted in one turn of the loop.
constexpr int kMaxAccepts = 32;
constexpr std::chrono::milliseconds kPause{100};

Descriptor open_reserve() {
  return Descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

}  // namespace

HttpListener::HttpListener(uv_loop_t* loop, std::vector<Descriptor> sockets,
                           std::function<HttpResponse(const HttpRequest&)> answer,
                           HttpConnection::Times max_times)
    : loop_(loop),
      answer_(std::move(answer)),
      max_times_(max_times),
      pause_(loop, *this),
      reserve_(open_reserve()) {
  reaper_.reset(new uv_idle_t);
  uv_idle_init(loop, reaper_.get());
  // The timer is made here: there may be no memory for it later.
  pause_.set(kPause);
  pause_.clear();
  reaper_->data = this;
  for (Descriptor& descriptor : sockets) {
    auto poll = std::make_unique<uv_poll_t>();
    if (uv_poll_init(loop, poll.get(), descriptor.get()) != 0) throw std::bad_alloc();
    sockets_.push_back({std::move(descriptor), Handle<uv_poll_t>(poll.release())});
  }
  watch();
}

void HttpListener::watch() {
  for (Socket& socket : sockets_) {
    socket.poll->data = this;
    uv_poll_start(socket.poll.get(), UV_READABLE, [](uv_poll_t* poll, int /*status*/, int /*events*/) {
      auto& listener = *static_cast<HttpListener*>(poll->data);
      for (const Socket& each : listener.sockets_)
        if (each.poll.get() == poll) return listener.accept_some(each);
    });
  }
}

// Without a free descriptor, accept4() fails even if nobody waits. So at most one is given up for each event.
void HttpListener::accept_some(const Socket& socket) {
  bool gave_up = false;
  for (int accepted = 0; accepted < kMaxAccepts; ++accepted) {
    Descriptor client(::accept4(socket.descriptor.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (client.get() >= 0) {
      serve(std::move(client));
      if (gave_up) return;
      continue;
    }
    const bool is_short = errno == EMFILE || errno == ENFILE;
    if (is_short && !std::exchange(gave_up, true) && give_up_descriptor()) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != ECONNABORTED && errno != EINTR) pause();
    return;
  }
}

// A client that sends nothing may hold the last descriptor.
bool HttpListener::give_up_descriptor() {
  if (reserve_.get() >= 0) {
    reserve_ = Descriptor(-1);
    return true;
  }
  if (connections_.empty()) return false;
  connections_.erase(connections_.begin());
  return true;
}

void HttpListener::serve(Descriptor client) {
  const std::uint64_t number = ++last_number_;
  try {
    if (connections_.size() >= kMaxConnections) connections_.erase(connections_.begin());
    auto connection = std::make_unique<HttpConnection>(
        loop_, std::move(client), max_times_,
        HttpConnection::Callbacks{.answer = answer_, .on_over = [this, number] { close_later(number); }});
    connections_.emplace(number, std::move(connection)).first->second->advance();
  } catch (const std::bad_alloc&) {
    connections_.erase(number);
  }
}

void HttpListener::close_later(std::uint64_t number) {
  try {
    over_.push_back(number);
  } catch (const std::bad_alloc&) {
    return;  // a newer connection will take its place
  }
  uv_idle_start(reaper_.get(), [](uv_idle_t* idle) {
    auto& listener = *static_cast<HttpListener*>(idle->data);
    uv_idle_stop(idle);
    for (const std::uint64_t over : std::exchange(listener.over_, {})) listener.connections_.erase(over);
    if (listener.reserve_.get() < 0) listener.reserve_ = open_reserve();
  });
}

void HttpListener::pause() {
  for (Socket& socket : sockets_) uv_poll_stop(socket.poll.get());
  pause_.set(kPause);
}

void HttpListener::wake() {
  if (reserve_.get() < 0) reserve_ = open_reserve();
  watch();
}

}  // namespace pgveil::proxy
