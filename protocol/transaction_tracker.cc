#include "protocol/transaction_tracker.h"

#include <algorithm>
#include <cstddef>

#include "protocol/backend.h"

namespace pgveil::protocol {
namespace {

constexpr char kQueryToken = 'q';
constexpr char kSyncToken = 's';
constexpr char kExtendedToken = 'x';
constexpr char kCopyEndToken = 'c';

// More unanswered messages than a pipeline has: they are no longer kept, so that a client cannot use more memory.
constexpr std::size_t kMaxTokens = 16'384;
// A session that is idle again gives back the memory of a larger pipeline.
constexpr std::size_t kUsualTokens = 64;

}  // namespace

void TransactionTracker::on_other_message(char type) {
  switch (type) {
    case 'Q':  // Query
    case 'F':  // FunctionCall
      return push(kQueryToken);
    case 'P':  // Parse
    case 'B':  // Bind
    case 'D':  // Describe
    case 'E':  // Execute
    case 'C':  // Close
      return push(kExtendedToken);
    case 'S':  // Sync
      if (!copies_in_) push(kSyncToken);
      has_sync_in_copy_ = copies_in_;
      return;
    case 'c':  // CopyDone
    case 'f':  // CopyFail
      if (!copies_in_) push(kCopyEndToken);
      copies_in_ = false;
      return;
    default: return;
  }
}

void TransactionTracker::push(char token) {
  if (is_lost_) return;
  if (ignores_until_sync_ && token != kSyncToken) return;
  ignores_until_sync_ = false;
  if (token == kExtendedToken && tokens_.ends_with(kExtendedToken)) return;
  // The server ignores the end of a COPY that it has not begun.
  if (token == kCopyEndToken && tokens_.empty() && queries_ == 0) return;
  if (tokens_.size() == kMaxTokens) {
    is_lost_ = is_uncertain_ = true;
    tokens_ = std::string();
    return;
  }
  tokens_ += token;
}

void TransactionTracker::on_deciding_message(char type, std::uint8_t last_byte) {
  switch (type) {
    case kReadyForQuery:
      pop_through_answered();
      status_ = static_cast<char>(last_byte);
      streams_ = false;
      return;
    case kErrorResponse: return on_error();
    case 'G': return on_copy_in();  // CopyInResponse
    case 'W':                       // CopyBothResponse
      streams_ = true;
      return;
    default: return;
  }
}

void TransactionTracker::pop_through_answered() {
  if (queries_ > 0) {
    --queries_;
  } else {
    const auto answered = tokens_.find_first_of("qs");
    if (answered == std::string::npos) {
      is_uncertain_ = true;
      tokens_.clear();
      return;
    }
    tokens_.erase(0, answered + 1);
  }
  if (queries_ > 0) return;
  drop_stray();
  if (!tokens_.empty()) return;
  is_uncertain_ = is_lost_;
  if (tokens_.capacity() > kUsualTokens) tokens_ = std::string();
}

void TransactionTracker::on_error() {
  if (copies_in_) {
    copies_in_ = false;
    // It is not known whether the server has read a Sync before or after the error, and so how many answers will come.
    is_uncertain_ = true;
    if (has_sync_in_copy_) is_lost_ = true;
    return;
  }
  if (queries_ > 0 || !tokens_.starts_with(kExtendedToken)) return;
  const auto sync = tokens_.find(kSyncToken);
  ignores_until_sync_ = sync == std::string::npos;
  tokens_.erase(0, sync);
}

// The client may have sent the end of the COPY already: then the COPY is over for it, and the server ignores each Sync
// before that end.
void TransactionTracker::on_copy_in() {
  const std::size_t begin = std::min<std::size_t>(queries_ > 0 ? 0 : 1, tokens_.size());  // after the command
  const std::size_t end = std::min(tokens_.find(kCopyEndToken, begin), tokens_.size());
  copies_in_ = end == tokens_.size();
  if (!copies_in_) tokens_.erase(end, 1);
  const auto first = tokens_.begin() + static_cast<std::ptrdiff_t>(begin);
  const auto last = tokens_.begin() + static_cast<std::ptrdiff_t>(end);
  tokens_.erase(std::remove(first, last, kSyncToken), last);
  has_sync_in_copy_ = false;
}

void TransactionTracker::drop_stray() {
  const auto begin = tokens_.find_first_not_of(kCopyEndToken);
  tokens_.erase(0, begin);
}

}  // namespace pgveil::protocol
