// The interface of a connection that sessions use: bytes are read and written, and the connection ends. A
// session does not depend on TLS or plaintext, nor on TCP or a Unix socket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "proxy/base/socket_address.h"
#include "tls/engine.h"

namespace pgveil::proxy {

class Ring;

using ByteView = std::span<const std::uint8_t>;

// A fixed number of bytes, not initialized: the kernel allocates a page only once it is written.
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

// A worker's memory for bytes that are being forwarded. One session uses it at a time: the bytes that a read
// returns are valid until the next read or write.
class Scratch {
 public:
  // `read_size`: the maximum size of one read.
  explicit Scratch(std::size_t read_size)
      : incoming(read_size),
        plaintext(tls::plaintext_room(read_size)),
        outgoing(tls::ciphertext_room(plaintext.size())) {}
  // Makes room for reads of this size, if it is larger than now. Bytes that a read has returned are then lost.
  void grow(std::size_t read_size) {
    if (read_size > incoming.size()) *this = Scratch(read_size);
  }

  Buffer incoming;   // as read from the kernel
  Buffer plaintext;  // decrypted from `incoming`
  Buffer outgoing;   // encrypted, for the kernel
};

// Bytes of a connection, with those of TLS.
struct WireBytes {
  std::uint64_t received = 0;
  std::uint64_t sent = 0;  // or kept to be sent
};

class Stream {
 public:
  enum class Status {
    bytes,    // some have arrived
    blocked,  // none for now
    ended,    // the peer has ended its side in the regular way
    failed,   // the connection broke; error() has the reason
  };
  struct Read {
    Status status;
    ByteView bytes;
  };

  virtual ~Stream() = default;

  // Reads bytes that have arrived, at most `most` bytes of the wire. After `ended` or `failed`, each further
  // read returns the same status.
  [[nodiscard]] virtual Read read(Scratch& scratch, std::size_t most) = 0;
  // Returns false if a read has drained the connection and nothing has arrived since.
  [[nodiscard]] virtual bool readable() const = 0;
  // Returns whether the stream itself holds unread bytes, or an end. There is no event for these.
  [[nodiscard]] virtual bool holds() const { return false; }

  // Sends the bytes, and keeps those that the kernel does not accept yet. If the connection is broken, the bytes are
  // dropped, and the next read returns the failure.
  virtual void write(Scratch& scratch, ByteView bytes) = 0;
  [[nodiscard]] virtual std::size_t unwritten() const = 0;

  // While reading is paused, the owner is woken only if the stream becomes writable, and once at the end of
  // the peer's side. Bytes that arrived before an end or a failure can still be read; after them, a read
  // returns the end or the failure.
  virtual void pause_reading() = 0;
  virtual void resume_reading() = 0;
  // From here on, the owner is woken only if at least this many bytes are unread, or at an end. Bytes that have
  // already arrived count. If the kernel does not support this (Unix sockets), each byte wakes the owner.
  virtual void wake_at(std::size_t /*bytes*/) {}

  // Returns whether written bytes cannot arrive any more: the connection broke, or the peer has closed both
  // sides of it.
  [[nodiscard]] virtual bool write_broken() const = 0;

  // After the peer has ended its side, there is no event if it breaks the connection. Asks the kernel for it, so that
  // write_broken() tells it from here on.
  virtual void look_for_break() = 0;

  // Returns whether TLS announced the end with close_notify. If it is missing, an attacker may have ended the
  // connection. Without TLS this cannot be known.
  enum class CloseNotify { without_tls, missing, received };
  [[nodiscard]] virtual CloseNotify close_notify() const { return CloseNotify::without_tls; }

  // Ends pgveil's side once everything is written. Reading continues. TLS sends close_notify before the end only for
  // Finish::complete, so that the peer can distinguish a regular end from a connection that was cut off.
  enum class Finish { complete, cut_off };
  virtual void finish(Scratch& scratch, Finish how) = 0;

  // From here on, `ring` reads and writes the bytes. It must outlive the stream.
  virtual void move_to(Ring& /*ring*/) {}

  // Returns what was read and written since the connection exists.
  [[nodiscard]] virtual WireBytes wire_bytes() const { return {}; }
  // Returns the address of pgveil's end of the connection; one of no family if it is not known.
  [[nodiscard]] virtual KernelAddress local_address() const { return {}; }

  [[nodiscard]] virtual std::string error() const = 0;
  // Returns the failure of TLS after the handshake, for example if a server refuses pgveil's certificate (TLS
  // 1.3); null: TLS has not failed.
  [[nodiscard]] virtual const tls::FailureReport* tls_failure() const { return nullptr; }
};

// Returns whether a loop that has read `reads` times in this turn may read again. A peer that sends without a
// pause must not starve the other sessions of its worker. It loses nothing: bytes that remain in the kernel
// wake the owner in the next turn. Bytes that the stream itself holds do not wake the owner, so they are
// always read; they are few.
inline constexpr int kMaxReads = 4;
[[nodiscard]] inline bool may_read(const Stream& stream, int reads) {
  return stream.readable() && (reads < kMaxReads || stream.holds());
}

}  // namespace pgveil::proxy
