#include "tls/record_layer.h"

#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <utility>

namespace pgveil::tls {
namespace {

using Status = Engine::Status;

// What comes behind a handshake (RFC 8446, 4).
constexpr std::uint8_t kNewSessionTicket = 4;
constexpr std::uint8_t kKeyUpdate = 24;
constexpr std::size_t kMessageHeaderBytes = 4;

// Nobody needs more in a row: tickets come by two or so. Each costs as much as data, a KeyUpdate more.
constexpr int kMostWithoutData = 32;

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
    : read_key_(agreement.suite, agreement.read, TrafficKey::Use::open),
      write_key_(agreement.suite, agreement.write, TrafficKey::Use::seal),
      is_client_(agreement.is_client),
      most_content_(agreement.most_content),
      octets_per_key_(agreement.octets_per_key) {}

Engine::Read RecordLayer::read(ByteView& ciphertext, std::span<std::uint8_t> plaintext, Outgoing& out) {
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
  }
  // An idle connection holds no buffer.
  if (begun_.empty()) begun_ = std::vector<std::uint8_t>();
  if (held_.empty()) held_ = std::vector<std::uint8_t>();
  if (status == Status::failed) return {status, size};
  return {close_notify_came_ && held_.empty() ? Status::closed : status, size};
}

// Sets `record` to the next one, where it has come as a whole: in `ciphertext`, or in begun_ where it began
// earlier. Keeps what has come of it otherwise.
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

// Before anything of the record is waited for. The version in it means nothing (RFC 8446, 5.1).
Status RecordLayer::check_header(ByteView header, Outgoing& out) {
  if (header[0] != static_cast<std::uint8_t>(ContentType::application_data))
    return refuse(SSL_AD_UNEXPECTED_MESSAGE, SSL_R_BAD_RECORD_TYPE, out);
  if (body_bytes(header) > TrafficKey::kMostBody)
    return refuse(SSL_AD_RECORD_OVERFLOW, SSL_R_ENCRYPTED_LENGTH_TOO_LONG, out);
  if (TrafficKey::kHeaderBytes + body_bytes(header) < TrafficKey::kOverhead)
    return refuse(SSL_AD_BAD_RECORD_MAC, SSL_R_LENGTH_TOO_SHORT, out);
  return Status::ready;
}

// Data goes to the end of `plaintext`, of which `size` octets are taken.
Status RecordLayer::read_record(ByteView record, std::span<std::uint8_t> plaintext, std::size_t& size,
                                Outgoing& out) {
  const auto room = plaintext.subspan(size);
  const std::size_t inner_bytes = record.size() - TrafficKey::kHeaderBytes - TrafficKey::kTagBytes;
  const bool has_room = room.size() >= inner_bytes;
  std::vector<std::uint8_t> elsewhere(has_room ? 0 : inner_bytes);
  const auto opened = read_key_.open(record, has_room ? room : std::span(elsewhere));
  if (!opened) return refuse(SSL_AD_BAD_RECORD_MAC, SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, out);
  if (inner_bytes > TrafficKey::kMostContent + 1)
    return refuse(SSL_AD_RECORD_OVERFLOW, SSL_R_DATA_LENGTH_TOO_LONG, out);
  const ByteView content = ByteView(has_room ? room : std::span(elsewhere)).first(opened->size);
  without_data_ = has_data(opened->type, content) ? 0 : without_data_ + 1;
  if (without_data_ > kMostWithoutData)
    return refuse(SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_RECORD, out);
  if (without_data_ > 0) return take_content(opened->type, content, out);
  // The parts of a message come one behind the other (RFC 8446, 5.1).
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

// Of a record without data.
Status RecordLayer::take_content(std::uint8_t type, ByteView content, Outgoing& out) {
  switch (ContentType{type}) {
    case ContentType::alert: return take_alert(content, out);
    case ContentType::handshake: return take_handshake(content, out);
    case ContentType::application_data: return Status::ready;
  }
  return refuse(SSL_AD_UNEXPECTED_MESSAGE, SSL_R_BAD_RECORD_TYPE, out);
}

// All but two mean the end, whatever level they are said to have (RFC 8446, 6).
Status RecordLayer::take_alert(ByteView content, Outgoing& out) {
  if (content.empty()) return refuse(SSL_AD_UNEXPECTED_MESSAGE, SSL_R_INVALID_ALERT, out);
  if (content.size() != 2) return refuse(SSL_AD_DECODE_ERROR, SSL_R_INVALID_ALERT, out);
  const int alert = content[1];
  if (alert == SSL_AD_CLOSE_NOTIFY) close_notify_came_ = true;
  if (alert == SSL_AD_CLOSE_NOTIFY || alert == SSL_AD_USER_CANCELLED) return Status::ready;
  ERR_raise_data(ERR_LIB_SSL, SSL_AD_REASON_OFFSET + alert, "SSL alert number %d", alert);
  return Status::failed;
}

// May be a part of a message, or several.
Status RecordLayer::take_handshake(ByteView content, Outgoing& out) {
  if (content.empty()) return refuse(SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_RECORD, out);
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
    } else if (message_bytes_ == message_.size()) {
      message_bytes_ = 0;
      // What is behind it would have to be under the next key.
      if (!content.empty()) return refuse(SSL_AD_UNEXPECTED_MESSAGE, SSL_R_NOT_ON_RECORD_BOUNDARY, out);
      return take_key_update(message_.back(), out);
    }
  }
  return Status::ready;
}

// Judged before anything of the message is waited for.
Status RecordLayer::take_message_header(Outgoing& out) {
  const auto size =
      (std::size_t{message_[1]} << 16U) | (std::size_t{message_[2]} << 8U) | std::size_t{message_[3]};
  if (message_[0] == kKeyUpdate)
    return size == 1 ? Status::ready : refuse(SSL_AD_DECODE_ERROR, SSL_R_BAD_KEY_UPDATE, out);
  if (message_[0] != kNewSessionTicket || !is_client_)
    return refuse(SSL_AD_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_MESSAGE, out);
  ticket_bytes_ = size;
  message_bytes_ = 0;
  return Status::ready;
}

Status RecordLayer::take_key_update(std::uint8_t wish, Outgoing& out) {
  if (wish > 1) return refuse(SSL_AD_ILLEGAL_PARAMETER, SSL_R_BAD_KEY_UPDATE, out);
  read_key_.update();
  if (wish == 1) owes_key_update_ = true;  // before the next data; that is soon enough
  return Status::ready;
}

Status RecordLayer::write(ByteView& plaintext, Outgoing& out) {
  if (close_notify_sent_) {
    ERR_raise(ERR_LIB_SSL, SSL_R_PROTOCOL_IS_SHUTDOWN);
    return Status::failed;
  }
  while (!plaintext.empty()) {
    const bool needs_key = owes_key_update_ || octets_of_key_ >= octets_per_key_;
    if (needs_key && !update_own_key(out)) return Status::want_room;
    if (out.room() <= TrafficKey::kOverhead) return Status::want_room;
    const auto size = std::min({plaintext.size(), most_content_, out.room() - TrafficKey::kOverhead});
    append_record(ContentType::application_data, plaintext.first(size), out);
    octets_of_key_ += size;
    plaintext = plaintext.subspan(size);
  }
  return Status::ready;
}

void RecordLayer::close(Outgoing& out) {
  if (std::exchange(close_notify_sent_, true)) return;
  append_alert(kWarning, SSL_AD_CLOSE_NOTIFY, out);
}

// False where there is no room for it.
bool RecordLayer::update_own_key(Outgoing& out) {
  constexpr std::array<std::uint8_t, 5> kMessage{kKeyUpdate, 0, 0, 1, 0};  // the peer need not
  static_assert(TrafficKey::kOverhead + kMessage.size() <= Engine::kLeastRoom);
  if (out.room() < TrafficKey::kOverhead + kMessage.size()) return false;
  append_record(ContentType::handshake, kMessage, out);
  write_key_.update();
  octets_of_key_ = 0;
  owes_key_update_ = false;
  return true;
}

Status RecordLayer::refuse(std::uint8_t alert, int reason, Outgoing& out) {
  if (!close_notify_sent_) append_alert(kFatal, alert, out);
  ERR_raise(ERR_LIB_SSL, reason);
  return Status::failed;
}

void RecordLayer::append_alert(std::uint8_t level, std::uint8_t alert, Outgoing& out) {
  const std::array content{level, alert};
  if (out.room() >= TrafficKey::kOverhead + content.size()) append_record(ContentType::alert, content, out);
}

void RecordLayer::append_record(ContentType type, ByteView content, Outgoing& out) {
  write_key_.seal(type, content, out.extend(TrafficKey::kOverhead + content.size()));
}

}  // namespace pgveil::tls
