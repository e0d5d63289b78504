#include "tls/internal/record_layer.h"

#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <utility>

namespace pgveil::tls {
namespace {

using Status = EngineStatus;

// The messages that may follow a handshake (RFC 8446, 4).
constexpr std::uint8_t kNewSessionTicket = 4;
constexpr std::uint8_t kKeyUpdate = 24;
constexpr std::size_t kMessageHeaderBytes = 4;

// The largest possible NewSessionTicket: each of its parts with the maximum of its length field (RFC 8446,
// 4.6.1).
constexpr std::size_t kMaxTicketBytes = 4 + 4 + (1 + 255) + (2 + 65'535) + (2 + 65'534);

constexpr std::uint8_t kWarning = 1;
constexpr std::uint8_t kFatal = 2;

bool has_data(std::uint8_t type, ByteView content) {
  return ContentType{type} == ContentType::application_data && !content.empty();
}

std::size_t body_bytes(ByteView header) {
  return (std::size_t{header[3]} << 8U) | header[4];
}

}  // namespace

RecordLayer::RecordLayer(const Agreement& agreement)
    : read_key_(agreement.suite, agreement.read, TrafficKey::Use::open, agreement.first_record),
      write_key_(agreement.suite, agreement.write, TrafficKey::Use::seal, agreement.first_record),
      is_client_(agreement.is_client),
      most_content_(agreement.most_content),
      key_limits_(agreement.key_limits) {}

ReadResult RecordLayer::read(ByteView& ciphertext, std::span<std::uint8_t> plaintext, Outgoing& out) {
  std::size_t size = std::min(held_.size(), plaintext.size());
  std::copy_n(held_.begin(), size, plaintext.begin());
  held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(size));
  auto status = Status::ready;
  while (status == Status::ready && !close_notify_came_ && size < plaintext.size()) {
    ByteView record;
    status = next_record(ciphertext, record, out);
    if (status != Status::ready) break;
    status = read_record(record, plaintext, size, out);
    begun_.clear();
    if (status == Status::ready && is_used_up(read_key_, bytes_read_)) status = ask_for_new_key(out);
  }
  // An idle connection holds no buffer.
  if (begun_.empty()) begun_ = std::vector<std::uint8_t>();
  if (held_.empty()) held_ = std::vector<std::uint8_t>();
  if (status == Status::failed) return {status, size};
  return {close_notify_came_ && held_.empty() ? Status::closed : status, size};
}

// Sets `record` to the next complete record: in `ciphertext`, or in begun_ if it began in an earlier call. If
// the record is incomplete, keeps its bytes in begun_.
Status RecordLayer::next_record(ByteView& ciphertext, ByteView& record, Outgoing& out) {
  const auto gather = [&](std::size_t wanted) {
    const auto more = ciphertext.first(std::min(wanted - begun_.size(), ciphertext.size()));
    begun_.insert(begun_.end(), more.begin(), more.end());
    ciphertext = ciphertext.subspan(more.size());
    return begun_.size() == wanted;
  };
  const bool is_new = begun_.empty() && ciphertext.size() >= TrafficKey::kHeaderBytes;
  if (!is_new && begun_.size() < TrafficKey::kHeaderBytes && !gather(TrafficKey::kHeaderBytes))
    return wait_for_input();
  const ByteView header = is_new ? ciphertext : ByteView(begun_);
  if (const auto status = check_header(header, out); status != Status::ready) return status;
  const std::size_t size = TrafficKey::kHeaderBytes + body_bytes(header);
  if (is_new && ciphertext.size() >= size) {
    record = ciphertext.first(size);
    ciphertext = ciphertext.subspan(size);
    return Status::ready;
  }
  begun_.reserve(size);
  if (!gather(size)) return wait_for_input();
  record = begun_;
  return Status::ready;
}

Status RecordLayer::wait_for_input() const {
  if (!end_of_input_) return Status::want_input;
  ERR_raise(ERR_LIB_SSL, SSL_R_UNEXPECTED_EOF_WHILE_READING);
  return Status::failed;
}

// Checks the header before the rest of the record is waited for. Its version field has no meaning (RFC 8446,
// 5.1).
Status RecordLayer::check_header(ByteView header, Outgoing& out) {
  if (header[0] != static_cast<std::uint8_t>(ContentType::application_data))
    return refuse(SSL_AD_UNEXPECTED_MESSAGE, SSL_R_BAD_RECORD_TYPE, out);
  if (body_bytes(header) > TrafficKey::kMaxBody)
    return refuse(SSL_AD_RECORD_OVERFLOW, SSL_R_ENCRYPTED_LENGTH_TOO_LONG, out);
  if (TrafficKey::kHeaderBytes + body_bytes(header) < TrafficKey::kOverhead)
    return refuse(SSL_AD_BAD_RECORD_MAC, SSL_R_LENGTH_TOO_SHORT, out);
  return Status::ready;
}

// Appends data to `plaintext`, whose first `size` bytes are used.
Status RecordLayer::read_record(ByteView record, std::span<std::uint8_t> plaintext, std::size_t& size,
                                Outgoing& out) {
  const auto room = plaintext.subspan(size);
  const std::size_t inner_bytes = record.size() - TrafficKey::kHeaderBytes - TrafficKey::kTagBytes;
  const bool has_room = room.size() >= inner_bytes;
  std::vector<std::uint8_t> elsewhere(has_room ? 0 : inner_bytes);
  const auto opened = read_key_.open(record, has_room ? room : std::span(elsewhere));
  if (!opened && opened.error() == TrafficKey::Fault::internal) return fail_internally(out);
  if (!opened) return refuse(SSL_AD_BAD_RECORD_MAC, SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, out);
  bytes_read_ += record.size();
  if (inner_bytes > TrafficKey::kMaxContent + 1)
    return refuse(SSL_AD_RECORD_OVERFLOW, SSL_R_DATA_LENGTH_TOO_LONG, out);
  const ByteView content = ByteView(has_room ? room : std::span(elsewhere)).first(opened->size);
  if (!has_data(opened->type, content)) return take_content(opened->type, content, out);
  spare_records_ = kSpare;
  spare_key_updates_ = std::max(spare_key_updates_, kSpare);
  // The parts of a handshake message must not be interleaved with other records (RFC 8446, 5.1).
  if (message_bytes_ + ticket_bytes_ > 0)
    return refuse(SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_RECORD, out);
  const std::size_t taken = std::min(content.size(), room.size());
  if (!has_room) {
    std::copy_n(content.begin(), taken, room.begin());
    held_.assign(content.begin() + static_cast<std::ptrdiff_t>(taken), content.end());
  }
  size += taken;
  return Status::ready;
}

// Processes the content of a record without data.
Status RecordLayer::take_content(std::uint8_t type, ByteView content, Outgoing& out) {
  switch (ContentType{type}) {
    case ContentType::alert: return take_alert(content, out);
    case ContentType::handshake: return take_handshake(content, out);
    case ContentType::application_data: return take_record_without_data(out);
  }
  return refuse(SSL_AD_UNEXPECTED_MESSAGE, SSL_R_BAD_RECORD_TYPE, out);
}

Status RecordLayer::take_record_without_data(Outgoing& out) {
  if (spare_records_ == 0) return refuse(SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_RECORD, out);
  --spare_records_;
  return Status::ready;
}

// All alerts except two mean the end, whatever their level is (RFC 8446, 6). close_notify, the regular end,
// is never an error.
Status RecordLayer::take_alert(ByteView content, Outgoing& out) {
  if (content.empty()) return refuse(SSL_AD_UNEXPECTED_MESSAGE, SSL_R_INVALID_ALERT, out);
  if (content.size() != 2) return refuse(SSL_AD_DECODE_ERROR, SSL_R_INVALID_ALERT, out);
  const int alert = content[1];
  if (alert == SSL_AD_CLOSE_NOTIFY) {
    close_notify_came_ = true;
    return Status::ready;
  }
  if (alert == SSL_AD_USER_CANCELLED) return take_record_without_data(out);
  ERR_raise_data(ERR_LIB_SSL, SSL_AD_REASON_OFFSET + alert, "SSL alert number %d", alert);
  return Status::failed;
}

// Processes a part of a message, or several messages. Only a record in which a ticket begins counts against
// the limit, because a ticket may arrive in as many parts as it has bytes.
Status RecordLayer::take_handshake(ByteView content, Outgoing& out) {
  if (content.empty()) return refuse(SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_RECORD, out);
  bool ticket_begins = false;
  while (!content.empty()) {
    if (ticket_bytes_ > 0) {
      const auto of_ticket = std::min(ticket_bytes_, content.size());
      ticket_bytes_ -= of_ticket;
      content = content.subspan(of_ticket);
      continue;
    }
    message_[message_bytes_++] = content.front();
    content = content.subspan(1);
    if (message_bytes_ == kMessageHeaderBytes) {
      if (const auto status = take_message_header(out); status != Status::ready) return status;
      ticket_begins = ticket_begins || message_[0] == kNewSessionTicket;
    } else if (message_bytes_ == message_.size()) {
      message_bytes_ = 0;
      // Bytes after a KeyUpdate would have to be encrypted with the next key.
      if (!content.empty()) return refuse(SSL_AD_UNEXPECTED_MESSAGE, SSL_R_NOT_ON_RECORD_BOUNDARY, out);
      return take_key_update(message_.back(), out);
    }
  }
  return ticket_begins ? take_record_without_data(out) : Status::ready;
}

// Checks the header before the rest of the message is waited for.
Status RecordLayer::take_message_header(Outgoing& out) {
  const auto size =
      (std::size_t{message_[1]} << 16U) | (std::size_t{message_[2]} << 8U) | std::size_t{message_[3]};
  if (message_[0] == kKeyUpdate)
    return size == 1 ? Status::ready : refuse(SSL_AD_DECODE_ERROR, SSL_R_BAD_KEY_UPDATE, out);
  if (message_[0] != kNewSessionTicket || !is_client_)
    return refuse(SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_MESSAGE, out);
  if (size > kMaxTicketBytes) return refuse(SSL_AD_ILLEGAL_PARAMETER, SSL_R_EXCESSIVE_MESSAGE_SIZE, out);
  ticket_bytes_ = size;
  message_bytes_ = 0;
  return Status::ready;
}

Status RecordLayer::take_key_update(std::uint8_t request, Outgoing& out) {
  if (request > 1) return refuse(SSL_AD_ILLEGAL_PARAMETER, SSL_R_BAD_KEY_UPDATE, out);
  if (spare_key_updates_ == 0) return refuse(SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_RECORD, out);
  --spare_key_updates_;
  read_key_.update();
  if (!read_key_.is_usable()) return fail_internally(out);
  bytes_read_ = 0;
  has_asked_for_key_ = false;
  if (request == 1) owes_key_update_ = true;  // our KeyUpdate is sent before the next data
  return Status::ready;
}

// Asks the peer to replace its key, which is used up. The peer may not know the limit, or not count its
// records. Asks only once until the new key is in use.
Status RecordLayer::ask_for_new_key(Outgoing& out) {
  if (has_asked_for_key_ || close_notify_sent_) return Status::ready;
  const auto status = update_own_key(true, out);
  has_asked_for_key_ = status == Status::ready;
  return status == Status::want_room ? Status::ready : status;  // asked again with the next record
}

Status RecordLayer::write(ByteView& plaintext, Outgoing& out) {
  if (close_notify_sent_) {
    ERR_raise(ERR_LIB_SSL, SSL_R_PROTOCOL_IS_SHUTDOWN);
    return Status::failed;
  }
  while (!plaintext.empty()) {
    if (owes_key_update_ || is_used_up(write_key_, bytes_written_))
      if (const auto status = update_own_key(false, out); status != Status::ready) return status;
    if (out.room() <= TrafficKey::kOverhead) return Status::want_room;
    const auto size = std::min({plaintext.size(), most_content_, out.room() - TrafficKey::kOverhead});
    if (!append_record(ContentType::application_data, plaintext.first(size), out))
      return fail_internally(out);
    ++spare_key_updates_;
    plaintext = plaintext.subspan(size);
  }
  return Status::ready;
}

void RecordLayer::close(Outgoing& out) {
  if (std::exchange(close_notify_sent_, true)) return;
  append_alert(kWarning, SSL_AD_CLOSE_NOTIFY, out);
}

// Returns want_room if nothing was done.
Status RecordLayer::update_own_key(bool asks_for_peers, Outgoing& out) {
  const std::array<std::uint8_t, 5> message{kKeyUpdate, 0, 0, 1,
                                            static_cast<std::uint8_t>(asks_for_peers ? 1 : 0)};
  static_assert(TrafficKey::kOverhead + message.size() <= kMinRoom);
  if (out.room() < TrafficKey::kOverhead + message.size()) return Status::want_room;
  if (!append_record(ContentType::handshake, message, out)) return fail_internally(out);
  write_key_.update();
  if (!write_key_.is_usable()) return fail_internally(out);
  bytes_written_ = 0;
  owes_key_update_ = false;
  return Status::ready;
}

Status RecordLayer::refuse(std::uint8_t alert, int reason, Outgoing& out) {
  if (!close_notify_sent_) append_alert(kFatal, alert, out);
  ERR_raise(ERR_LIB_SSL, reason);
  return Status::failed;
}

// Replaces OpenSSL's error with "internal error", for the peer and for the log.
Status RecordLayer::fail_internally(Outgoing& out) {
  ERR_clear_error();
  return refuse(SSL_AD_INTERNAL_ERROR, ERR_R_INTERNAL_ERROR, out);
}

// If the alert does not fit, the peer only sees the end of the connection.
void RecordLayer::append_alert(std::uint8_t level, std::uint8_t alert, Outgoing& out) {
  const std::array content{level, alert};
  if (out.room() >= TrafficKey::kOverhead + content.size())
    static_cast<void>(append_record(ContentType::alert, content, out));
}

// Returns false, and appends nothing, if OpenSSL fails.
bool RecordLayer::append_record(ContentType type, ByteView content, Outgoing& out) {
  const auto record = out.extend(TrafficKey::kOverhead + content.size());
  if (!write_key_.seal(type, content, record)) {
    out.take_back(record.size());
    return false;
  }
  bytes_written_ += record.size();
  return true;
}

}  // namespace pgveil::tls
