#include "proxy/doctor/lone_link.h"

#include <utility>

#include "proxy/base/timed_socket.h"

namespace pgveil::proxy {
namespace {

constexpr std::size_t kScratchBytes = 65'536;

}  // namespace

LoneLink::LoneLink(const std::shared_ptr<const Upstream>& upstream, const protocol::Bytes& first_bytes,
                   Time budget)
    : scratch_(kScratchBytes),
      alarm_(loop_.get(), *this),
      link_({loop_.get(), queue_, resolver_}, upstream, upstream->tls, static_cast<Wakeable&>(*this), budget,
            Course{}, first_bytes) {
  alarm_.set(budget);
}

std::optional<Ending> LoneLink::connect() {
  for (;;) {
    switch (link_.advance(scratch_)) {
      case UpstreamLink::State::established: tls_ = link_.tls(); return std::nullopt;
      case UpstreamLink::State::failed: return link_.failure();
      case UpstreamLink::State::connecting:
      case UpstreamLink::State::verifying: break;
    }
    if (alarm_.passed()) return link_.timed_out("take the connection");
    uv_run(loop_.get(), UV_RUN_ONCE);
  }
}

std::optional<Ending> LoneLink::await_rejection(Time time) {
  for (alarm_.set(time); !alarm_.passed(); uv_run(loop_.get(), UV_RUN_ONCE))
    if (auto ending = link_.broken_silence(scratch_)) return ending;
  return std::nullopt;
}

Stream& LoneLink::stream() {
  if (!stream_) stream_ = link_.take_stream();
  return *stream_;
}

void LoneLink::send(protocol::ByteView bytes) {
  stream().write(scratch_, bytes);
}

LoneLink::Received LoneLink::receive(Clock::time_point deadline) {
  while (Clock::now() < deadline) {
    if (auto received = receive_arrived()) return *std::move(received);
    static_cast<void>(wait(deadline));
  }
  return tl::unexpected<std::string>(kNoAnswer);
}

std::optional<LoneLink::Received> LoneLink::receive_arrived() {
  const auto read = stream().read(scratch_, kScratchBytes);
  switch (read.status) {
    case Stream::Status::bytes: return protocol::Bytes(read.bytes.begin(), read.bytes.end());
    case Stream::Status::ended: return protocol::Bytes{};
    case Stream::Status::failed: return tl::unexpected(stream().error());
    case Stream::Status::blocked: break;
  }
  return std::nullopt;
}

bool LoneLink::wait(Clock::time_point deadline) {
  const Time left = std::chrono::ceil<Time>(deadline - Clock::now());
  if (left.count() <= 0) return false;
  alarm_.set(left);
  uv_run(loop_.get(), UV_RUN_ONCE);
  return true;
}

void LoneLink::close() {
  if (stream_)
    stream_->finish(scratch_, Stream::Finish::complete);
  else
    link_.close(scratch_);
}

}  // namespace pgveil::proxy
