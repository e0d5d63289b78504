#include "proxy/net/tls_stream.h"

#include <utility>

namespace pgveil::proxy {

namespace {

// The maximum size of one read of a handshake. Most handshakes are smaller.
constexpr std::size_t kHandshakeReadBytes = 16'384;
// The maximum size of the answers of TLS that wait for a peer that does not read them. An alert has 31 bytes.
constexpr std::size_t kMaxUnreadAnswers = 8'192;

}  // namespace

TlsStream::Handshake TlsStream::shake_hands(Scratch& scratch) {
  for (int reads = 0; reads < kMaxReads; ++reads) {
    const auto early = std::exchange(early_, {});
    Read received{Status::bytes, early};
    // The first call may have no ciphertext: in TLS the client sends the first message.
    if (early.empty())
      received = inner_->readable() ? inner_->read(scratch, kHandshakeReadBytes) : Read{Status::blocked, {}};
    if (received.status == Status::ended || received.status == Status::failed) engine_->end_of_input();
    ByteView ciphertext = received.bytes;
    if (!ciphertext.empty()) peer_has_spoken_ = true;
    auto status = tls::Engine::Status::want_room;
    while (status == tls::Engine::Status::want_room) {
      tls::Outgoing out(scratch.outgoing);
      status = engine_->handshake(ciphertext, out);
      inner_->write(scratch, out.written());
    }
    if (status == tls::Engine::Status::ready) {
      early_.assign(ciphertext.begin(), ciphertext.end());
      return Handshake::done;
    }
    if (status != tls::Engine::Status::want_input) return Handshake::failed;
    if (received.status != Status::bytes) return Handshake::waiting;
  }
  return Handshake::waiting;
}

Stream::Read TlsStream::read(Scratch& scratch, std::size_t most) {
  if (ended_ || failed_) {
    // Bytes after close_notify are not TLS and are dropped. Unread, they (most often the end of the
    // connection) would wake the owner in every turn of the loop.
    if (inner_->readable()) static_cast<void>(inner_->read(scratch, most));
    return {failed_ ? Status::failed : Status::ended, {}};
  }
  if (!early_.empty()) {
    const auto early = std::exchange(early_, {});
    return decrypt(scratch, early);
  }
  const Read received = inner_->read(scratch, most);
  switch (received.status) {
    case Status::bytes: return decrypt(scratch, received.bytes);
    case Status::blocked:
    case Status::failed: return received;
    // An end without close_notify is not an error here. PostgreSQL's messages contain their lengths, so a
    // receiver sees that a result was cut off. The log distinguishes it from a regular end.
    case Status::ended: ended_ = true; return received;
  }
  return received;
}

Stream::Read TlsStream::decrypt(Scratch& scratch, ByteView ciphertext) {
  tls::Outgoing out(scratch.outgoing);
  const auto read = engine_->read(ciphertext, scratch.plaintext, out);
  const bool is_sent = send_answer(scratch, out.written());
  if (read.status == tls::Engine::Status::closed) ended_ = close_notify_received_ = true;
  if (read.status == tls::Engine::Status::failed) failed_ = true;
  // There is no room if the peer has caused more answers than fit into the buffer, in one read.
  if (!failed_ && (!is_sent || read.status == tls::Engine::Status::want_room)) {
    engine_->give_up("the peer requests answers of TLS and does not read them");
    failed_ = true;
  }
  if (read.size > 0) return {Status::bytes, ByteView(scratch.plaintext).first(read.size)};
  if (failed_) return {Status::failed, {}};
  return {ended_ ? Status::ended : Status::blocked, {}};
}

// Sends what TLS answers by itself, such as the alert after a request for renegotiation. Returns false if the peer does
// not read the answers: it must not fill the memory by further requests.
bool TlsStream::send_answer(Scratch& scratch, ByteView answer) {
  if (answer.empty()) return true;
  inner_->write(scratch, answer);
  unread_answers_ = inner_->unwritten() == 0 ? 0 : unread_answers_ + answer.size();
  return unread_answers_ <= kMaxUnreadAnswers;
}

void TlsStream::write(Scratch& scratch, ByteView bytes) {
  while (!bytes.empty()) {
    tls::Outgoing out(scratch.outgoing);
    const auto status = engine_->write(bytes, out);
    inner_->write(scratch, out.written());
    if (status == tls::Engine::Status::failed) {
      failed_ = true;  // the next read returns the failure
      return;
    }
  }
}

void TlsStream::finish(Scratch& scratch, Finish how) {
  if (how == Finish::complete) {
    tls::Outgoing out(scratch.outgoing);
    engine_->close(out);
    if (!out.written().empty()) inner_->write(scratch, out.written());
  }
  inner_->finish(scratch, how);
}

std::string TlsStream::error() const {
  return failed_ ? engine_->failure().reason : inner_->error();
}

}  // namespace pgveil::proxy
