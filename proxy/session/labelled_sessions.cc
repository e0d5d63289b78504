#include "proxy/session/labelled_sessions.h"

namespace pgveil::proxy {

LabelledSessions::Counts& LabelledSessions::enter(const SessionMetrics& listener, LabelValues values) {
  Key key{listener.number,
          {labels_.user ? std::move(values.user) : "", labels_.database ? std::move(values.database) : "",
           labels_.address ? std::move(values.address) : ""}};
  if (rows_.size() >= limit_ && !rows_.contains(key))
    key.second = {labels_.user ? kOther : "", labels_.database ? kOther : "", labels_.address ? kOther : ""};
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
