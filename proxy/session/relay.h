// The relay of an established session. It forwards opaque bytes in both directions, with backpressure. It
// tracks message boundaries, so that pgveil sends its own ErrorResponse only between two messages, and so
// that the log shows whether a side ended inside a message.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "protocol/message.h"
#include "protocol/transaction_tracker.h"
#include "proxy/net/stream.h"
#include "proxy/session/traffic.h"

namespace pgveil::proxy {

class Relay {
 public:
  enum class End { client_closed, client_lost, server_closed, server_lost };

  // A direction is in bulk mode once one side has sent kBulk bytes while the opposite side sent none. It is
  // then read in pieces of kBulkPiece: a server writes its bytes to the kernel in small pieces, and a wake-up
  // for each of them costs more than forwarding it.
  static constexpr std::uint64_t kBulk = std::uint64_t{8} << 20U;
  static constexpr std::size_t kBulkPiece = std::size_t{128} << 10U;
  static constexpr std::chrono::milliseconds kBulkPatience{1};

  // Both streams must outlive the relay. `read_size`: the maximum size of one read.
  Relay(Stream& client, Stream& server, std::size_t read_size)
      : to_server_{client, server}, to_client_{server, client}, read_size_(read_size) {}

  // Forwards the bytes that have arrived, a bounded number in each direction. Returns the end of a side once all
  // bytes that this side sent before have been passed on. If the client has sent Terminate or ended its side, and the server
  // closes after it has answered everything, returns client_closed: the client ended the session, even if the server closed
  // its connection first.
  [[nodiscard]] std::optional<End> advance(Scratch& scratch);

  [[nodiscard]] bool in_bulk() const { return to_server_.in_bulk || to_client_.in_bulk; }
  // Must be called every kBulkPatience while in_bulk(). Ends bulk mode of a direction in which no byte has arrived
  // since the last call, because a last piece that is smaller than kBulkPiece does not wake the session.
  void look_after_bulk();
  void end_bulk();

  // Forwards from the client to the server only. This is for the login, in which the server's bytes are read
  // message by message. Passes on the end of the client, too. Returns `blocked`, or `failed` if the
  // connection to the client broke.
  [[nodiscard]] Stream::Status advance_to_server(Scratch& scratch);

  // The client has ended its side, and this end was passed on to the server. The server's bytes are still
  // forwarded until the server ends its side, too.
  [[nodiscard]] bool client_ended() const { return client_ended_; }
  // The last message of the client was Terminate.
  [[nodiscard]] bool client_terminated() const;

  // Track bytes that were passed on outside the relay, during the login.
  void follow_to_client(ByteView bytes);
  void follow_to_server(ByteView bytes);
  // Whether pgveil may send a message of its own to the client.
  [[nodiscard]] bool at_client_boundary() const { return to_client_.boundary.at_boundary(); }
  // Whether a message has begun and is not complete.
  [[nodiscard]] bool in_message_to_client() const { return to_client_.boundary.in_message(); }
  [[nodiscard]] bool in_message_to_server() const { return to_server_.boundary.in_message(); }
  // Whether the session is idle outside a transaction: nothing is lost if it ends now.
  [[nodiscard]] bool is_idle() const {
    return transactions_.is_idle() && to_client_.boundary.at_boundary() && to_server_.boundary.at_boundary();
  }
  // Whether the session waits for its client, outside or inside a transaction.
  [[nodiscard]] bool waits_for_client() const {
    return transactions_.is_answered() && to_client_.boundary.at_boundary() &&
           to_server_.boundary.at_boundary();
  }
  // The last message of the server was an ErrorResponse that ends the session.
  [[nodiscard]] bool server_gave_up() const;
  // The SQLSTATE of that message; empty if it is unknown.
  [[nodiscard]] const std::string& server_sqlstate() const { return server_sqlstate_; }

  // What was passed on so far. The resolution of `paused` is a few milliseconds.
  [[nodiscard]] Traffic traffic() const;
  [[nodiscard]] std::uint64_t bytes_to_server() const { return to_server_.bytes; }
  [[nodiscard]] std::uint64_t bytes_to_client() const { return to_client_.bytes; }

 private:
  struct Direction {
    Stream& from;
    Stream& to;
    protocol::BoundaryTracker boundary = {};
    std::uint64_t bytes = 0;
    std::uint64_t messages = 0;
    std::chrono::nanoseconds paused_before{0};  // in all pauses that are over
    std::chrono::nanoseconds paused_since{0};   // of coarse_time()
    std::size_t resume_below = 0;  // low watermark: `from` is resumed once `to` holds no more bytes than this
    bool paused = false;
    bool in_bulk = false;
    std::uint64_t unanswered = 0;  // bytes since the last byte in the opposite direction
    std::uint64_t looked_at = 0;   // `bytes` at the last look_after_bulk()
  };

  [[nodiscard]] static Traffic::Direction traffic(const Direction& direction);
  [[nodiscard]] Stream::Status move(Direction& direction, Scratch& scratch);
  // These run seldom. Inside advance() and move(), which run for every message, they would cost each message the instructions
  // that save registers.
  [[nodiscard, gnu::cold, gnu::noinline]] Stream::Status drop_from_client(Scratch& scratch);
  [[nodiscard, gnu::cold, gnu::noinline]] Stream::Status end_client(Scratch& scratch);
  [[nodiscard, gnu::cold, gnu::noinline]] std::optional<End> end_after_client(Stream::Status server) const;
  [[nodiscard, gnu::cold, gnu::noinline]] End end_of_server(Stream::Status server) const;
  [[nodiscard]] bool server_fell_short() const;
  [[gnu::cold, gnu::noinline]] void note_server_error(ByteView bytes);
  [[gnu::cold, gnu::noinline]] void begin_bulk(Direction& direction) const;
  [[gnu::cold, gnu::noinline]] static void end_bulk(Direction& direction);

  // An answer ends bulk mode of the opposite direction: in a dialogue, each message must be forwarded without waiting for
  // more bytes.
  void note_bulk(Direction& direction, Direction& other) const {
    other.unanswered = 0;
    if (other.in_bulk) end_bulk(other);
    if (!direction.in_bulk && direction.unanswered >= kBulk) begin_bulk(direction);
  }

  Direction to_server_;
  Direction to_client_;
  protocol::TransactionTracker transactions_;
  std::size_t read_size_;
  bool client_ended_ = false;
  bool server_goes_on_ = false;  // the last ErrorResponse of the server did not end the session
  std::string server_sqlstate_;
};

}  // namespace pgveil::proxy
