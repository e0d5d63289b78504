#include "protocol/query_reader.h"

#include <utility>

#include "protocol/message.h"

namespace pgveil::protocol {
namespace {

constexpr char kNotificationResponse = 'A';

// Whether a server may send it at any time.
bool is_asynchronous(char type) {
  return type == kNoticeResponse || type == kParameterStatus || type == kNotificationResponse;
}

// Moves a decoded value to `target`. Returns false if it could not be decoded.
template <class T, class Target>
bool assign(tl::expected<T, DecodeError> decoded, Target& target) {
  if (!decoded) return false;
  target = *std::move(decoded);
  return true;
}

}  // namespace

QueryReader::State QueryReader::receive(ByteView bytes) {
  if (state_ != State::more) return state_;
  received_.insert(received_.end(), bytes.begin(), bytes.end());
  if (received_.size() > kMaxBytes) return state_ = State::failed;
  while (state_ == State::more) {
    ByteReader in(ByteView(received_).subspan(read_));
    const auto message = decode_message(in, kMaxBytes);
    if (!message) return state_ = State::failed;
    if (!*message) break;
    read_ += (*message)->whole.size();
    state_ = take((*message)->type, (*message)->body);
  }
  return state_;
}

QueryReader::State QueryReader::take(char type, ByteView body) {
  const auto if_read = [](bool is_read) { return is_read ? State::more : State::failed; };
  if (is_asynchronous(type)) return State::more;
  switch (type) {
    case kRowDescription: return if_read(assign(decode_row_description(body), answer_.columns));
    case kDataRow: return if_read(assign(decode_data_row(body), answer_.rows.emplace_back()));
    case kErrorResponse: return if_read(assign(decode_error_fields(body), answer_.error));
    case kCommandComplete:
    case kEmptyQueryResponse: return State::more;
    case kReadyForQuery: return State::complete;
    default: return State::failed;
  }
}

}  // namespace pgveil::protocol
