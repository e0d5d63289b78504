// A connection as a session sees it: bytes in, bytes out, an end. Whether TLS is in between, and whether it
// is TCP or a Unix socket, is not its business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "tls/engine.h"

namespace pgveil::proxy {

class Ring;

using ByteView = std::span<const std::uint8_t>;

// A fixed number of bytes, not filled: the kernel gives pages only as far as something was ever written.
class Buffer {
 public:
  explicit Buffer(std::size_t size)
      : bytes_(std::make_unique_for_overwrite<std::uint8_t[]>(size)), size_(size) {}

  [[nodiscard]] std::uint8_t* data() { return bytes_.get(); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::uint8_t* begin() { return data(); }
  [[nodiscard]] std::uint8_t* end() { return data() + size_; }

 private:
  std::unique_ptr<std::uint8_t[]> bytes_;
  std::size_t size_;
};

// The worker's memory for bytes on their way through, used by one session at a time: what one read returns is
// valid until the next read or write.
class Scratch {
 public:
  // `read_size`: the most that one read takes.
  explicit Scratch(std::size_t read_size)
      : incoming(read_size),
        plaintext(tls::plaintext_room(read_size)),
        outgoing(tls::ciphertext_room(plaintext.size())) {}
  // Makes room for reads of this size, unless it has it. What a read has returned is lost.
  void grow(std::size_t read_size) {
    if (read_size > incoming.size()) *this = Scratch(read_size);
  }

  Buffer incoming;   // as it came from the kernel
  Buffer plaintext;  // decrypted from `incoming`
  Buffer outgoing;   // encrypted, for the kernel
};

class Stream {
 public:
  enum class Status {
    bytes,    // some have come
    blocked,  // none for now
    ended,    // the peer will send no more: the regular end
    failed,   // the connection broke; error() says how
  };
  struct Read {
    Status status;
    ByteView bytes;
  };

  virtual ~Stream() = default;

  // Takes what has come, at most `most` bytes of the wire. After `ended` or `failed` every read says so
  // again.
  [[nodiscard]] virtual Read read(Scratch& scratch, std::size_t most) = 0;
  // False while nothing has come since a read found the connection drained.
  [[nodiscard]] virtual bool readable() const = 0;
  // The stream itself holds something that has not been read, or an end: no event will tell of it.
  [[nodiscard]] virtual bool holds() const { return false; }

  // Sends, or keeps what the kernel does not take. A connection that broke swallows it: the next reads tell.
  virtual void write(Scratch& scratch, ByteView bytes) = 0;
  [[nodiscard]] virtual std::size_t unwritten() const = 0;

  // While paused, nothing wakes the owner but writability, and once the end of what the peer sends. What came
  // before an end or a break can still be read, and it is the reads that tell of both, in their order.
  virtual void pause_reading() = 0;
  virtual void resume_reading() = 0;
  // The peer ended its side or broke the connection, seen while reading was paused. One that has only ended
  // its side may still read: see write_broken().
  [[nodiscard]] virtual bool peer_gone() const = 0;

  // From here on only so many bytes wake the owner, or an end; what is there already counts. Where the kernel
  // cannot tell (a Unix socket), any byte does.
  virtual void wake_at(std::size_t /*bytes*/) {}

  // Nothing that is written arrives any more: the connection broke, or the peer is known to have closed both
  // sides of it.
  [[nodiscard]] virtual bool write_broken() const = 0;

  // Whether TLS said, before the connection ended, that this is the end; without that it may be somebody else
  // who has ended it. Without TLS nobody can tell.
  enum class CloseNotify { without_tls, missing, received };
  [[nodiscard]] virtual CloseNotify close_notify() const { return CloseNotify::without_tls; }

  // Ends our side once everything is written. Reading goes on. TLS says close_notify before only if what was
  // to be sent is complete: a peer must be able to tell the regular end of the other side from one that was
  // cut off.
  enum class Finish { complete, cut_off };
  virtual void finish(Scratch& scratch, Finish how) = 0;

  // Lets `ring`, which must outlive the stream, move the bytes from here on.
  virtual void move_to(Ring& /*ring*/) {}

  [[nodiscard]] virtual std::string error() const = 0;
  // Where TLS failed after the handshake, as when a server refuses our certificate at its first word
  // (TLS 1.3).
  [[nodiscard]] virtual const tls::FailureReport* tls_failure() const { return nullptr; }
};

// Whether a loop that has read `reads` times in this turn may read again. A peer that sends without a pause
// must not starve the others of its worker, and need not wait: what is left in the kernel wakes the owner in
// the next turn. What the stream itself holds would not, and is little.
inline constexpr int kMaxReads = 4;
[[nodiscard]] inline bool may_read(const Stream& stream, int reads) {
  return stream.readable() && (reads < kMaxReads || stream.holds());
}

}  // namespace pgveil::proxy
