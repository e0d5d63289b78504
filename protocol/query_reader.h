// The answer of a server to one simple query, from its first byte to ReadyForQuery.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "protocol/backend.h"
#include "protocol/bytes.h"
#include "protocol/query_result.h"

namespace pgveil::protocol {

struct QueryAnswer {
  std::vector<std::string> columns;
  std::vector<Row> rows;             // as text
  std::optional<ErrorFields> error;  // the query has failed
};

class QueryReader {
 public:
  // What a server may send for one answer, so that it cannot fill the memory.
  static constexpr std::size_t kMaxBytes = std::size_t{4} << 20;

  enum class State {
    more,      // more bytes are needed
    complete,  // answer() has everything
    failed,    // the bytes are not an answer to a query, or too many
  };
  [[nodiscard]] State receive(ByteView bytes);

  [[nodiscard]] const QueryAnswer& answer() const { return answer_; }
  // Returns what was received after the answer.
  [[nodiscard]] ByteView rest() const { return ByteView(received_).subspan(read_); }

 private:
  [[nodiscard]] State take(char type, ByteView body);

  Bytes received_;
  std::size_t read_ = 0;  // of received_
  QueryAnswer answer_;
  State state_ = State::more;
};

}  // namespace pgveil::protocol
