#include "proxy/admin/http_connection.h"

#include <sys/socket.h>

#include <array>
#include <new>
#include <utility>

#include "proxy/admin/must_wait.h"

namespace pgveil::proxy {
namespace {

constexpr std::size_t kReadBytes = 4096;

}  // namespace

HttpConnection::HttpConnection(uv_loop_t* loop, Descriptor client, Times max_times, Callbacks callbacks)
    : descriptor_(std::move(client)),
      max_times_(max_times),
      callbacks_(std::move(callbacks)),
      deadline_(loop, *this) {
  auto poll = std::make_unique<uv_poll_t>();
  if (uv_poll_init(loop, poll.get(), descriptor_.get()) != 0) throw std::bad_alloc();
  poll->data = this;
  poll_.reset(poll.release());
  deadline_.set(max_times_.request);
}

void HttpConnection::advance() {
  try {
    while (phase_ != Phase::over) {
      const Phase next = step();
      if (next == phase_) return watch();
      phase_ = next;
    }
  } catch (const std::bad_alloc&) {
    // The client gets no response if there is no memory for it.
  }
  finish();
}

HttpConnection::Phase HttpConnection::step() {
  switch (phase_) {
    case Phase::request: return read_request();
    case Phase::response: return write_response();
    case Phase::end: return discard();
    case Phase::over: break;
  }
  return Phase::over;
}

// At most one read in each turn of the loop, so that no client delays the others.
HttpConnection::Phase HttpConnection::read_request() {
  std::array<char, kReadBytes> bytes;  // NOLINT(cppcoreguidelines-pro-type-member-init): recv() fills it
  const ssize_t size = ::recv(descriptor_.get(), bytes.data(), bytes.size(), 0);
  if (must_wait(size)) return Phase::request;
  if (size <= 0) return Phase::over;
  if (std::exchange(is_idle_, false)) deadline_.set(max_times_.request);
  switch (request_.add({bytes.data(), static_cast<std::size_t>(size)})) {
    case HttpRequestReader::State::incomplete: return Phase::request;
    case HttpRequestReader::State::refused:
      keeps_open_ = false;
      response_ = bytes_of({.status = 400, .body = "this is not a request that pgveil accepts\n"}, {});
      return Phase::response;
    case HttpRequestReader::State::complete: break;
  }
  const HttpRequest request = request_.release();
  keeps_open_ = request.keeps_open;
  response_ = bytes_of(callbacks_.answer(request),
                       {.is_for_head = request.method == "HEAD", .keeps_open = keeps_open_});
  return Phase::response;
}

HttpConnection::Phase HttpConnection::write_response() {
  const ssize_t size =
      ::send(descriptor_.get(), response_.data() + written_, response_.size() - written_, MSG_NOSIGNAL);
  if (must_wait(size)) return Phase::response;
  if (size < 0) return Phase::over;
  written_ += static_cast<std::size_t>(size);
  if (written_ < response_.size()) return Phase::response;
  if (!keeps_open_) {
    ::shutdown(descriptor_.get(), SHUT_WR);
    return Phase::end;
  }
  std::string().swap(response_);
  written_ = 0;
  is_idle_ = true;
  deadline_.set(max_times_.idle);
  return Phase::request;
}

HttpConnection::Phase HttpConnection::discard() {
  std::array<char, kReadBytes> bytes;  // NOLINT(cppcoreguidelines-pro-type-member-init): recv() fills it
  const ssize_t size = ::recv(descriptor_.get(), bytes.data(), bytes.size(), 0);
  return size > 0 || must_wait(size) ? Phase::end : Phase::over;
}

void HttpConnection::watch() {
  const int events = phase_ == Phase::response ? UV_WRITABLE : UV_READABLE;
  uv_poll_start(poll_.get(), events, [](uv_poll_t* poll, int /*status*/, int /*events*/) {
    static_cast<HttpConnection*>(poll->data)->advance();
  });
}

void HttpConnection::finish() {
  phase_ = Phase::over;
  deadline_.clear();
  poll_.reset();
  if (callbacks_.on_over) std::exchange(callbacks_.on_over, nullptr)();
}

}  // namespace pgveil::proxy
