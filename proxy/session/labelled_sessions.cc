#include "proxy/session/labelled_sessions.h"

#include <utility>

#include "proxy/diagnostics/log_text.h"

namespace pgveil::proxy {

LabelledSessions::Counts& LabelledSessions::enter(const SessionMetrics& listener, const LabelValues& values) {
  Key key{listener.number,
          {labels_.user ? printable(values.user) : "", labels_.database ? printable(values.database) : "",
           labels_.address ? printable(values.address) : ""}};
  std::size_t& count = rows_of_[listener.number];
  if (!rows_.contains(key)) {
    if (count >= limit_)
      key.second = {labels_.user ? kOther : "", labels_.database ? kOther : "",
                    labels_.address ? kOther : ""};
    else
      ++count;
  }
  Counts& row = rows_[std::move(key)];
  ++row.sessions;
  ++row.logins;
  return row;
}

void LabelledSessions::leave(Counts& row, const Traffic& traffic) {
  --row.sessions;
  row.traffic += traffic;
}

void LabelledSessions::begin_survey() {
  for (auto& [key, row] : rows_) row.running = {};
}

}  // namespace pgveil::proxy
