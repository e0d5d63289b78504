#include "proxy/session/closing.h"

#include <chrono>
#include <utility>

namespace pgveil::proxy {
namespace {

// How long an ended session waits while no further byte can be written to the peers, and how long it waits for a peer
// to close once everything is written.
constexpr std::chrono::seconds kFlushTimeout{300};
constexpr std::chrono::seconds kLingerTimeout{2};

// Reads bytes that still arrive, and drops them. Returns true once the peer has closed its side and
// everything is sent to it, or the connection broke.
bool is_drained(Stream& stream, Scratch& scratch) {
  for (int reads = 0; may_read(stream, reads); ++reads) {
    const auto status = stream.read(scratch, scratch.incoming.size()).status;
    if (status == Stream::Status::failed) return true;
    if (status == Stream::Status::ended) return stream.unwritten() == 0;
    if (status == Stream::Status::blocked) return false;
  }
  return false;
}

}  // namespace

void Closing::begin(std::unique_ptr<Stream> server, Stream::Finish for_client, Stream::Finish for_server) {
  server_ = std::move(server);
  finish(*context_.client, for_client);
  if (server_) finish(*server_, for_server);
  context_.deadline.set(kLingerTimeout);
}

void Closing::finish(Stream& stream, Stream::Finish how) {
  stream.finish(context_.scratch(), how);
  stream.resume_reading();
}

bool Closing::advance() {
  const bool client_done = is_drained(*context_.client, context_.scratch());
  const bool server_done = !server_ || is_drained(*server_, context_.scratch());
  if (client_done && server_done) return true;
  const std::size_t backlog = context_.client->unwritten() + (server_ ? server_->unwritten() : 0);
  if (backlog != backlog_) {
    backlog_ = backlog;
    context_.deadline.set(backlog > 0 ? kFlushTimeout : kLingerTimeout);
  }
  return context_.deadline.passed();
}

}  // namespace pgveil::proxy
