#include "proxy/upstream/upstream_check.h"

#include <algorithm>
#include <new>
#include <utility>

#include "protocol/proxy_header.h"
#include "proxy/diagnostics/log.h"

namespace pgveil::proxy {
namespace {

// The connection is pgveil's own, and has no client.
protocol::Bytes local_proxy_header(const UpstreamConfig& upstream) {
  protocol::Bytes header;
  if (upstream.send_proxy_protocol) protocol::encode_proxy_header({}, std::nullopt, header);
  return header;
}

}  // namespace

UpstreamCheck::UpstreamCheck(const LinkServices& services, Scratch& scratch,
                             std::shared_ptr<const Upstream> upstream, Time interval, Time attempt_timeout)
    : loop_(services.loop),
      scratch_(scratch),
      services_(services),
      upstream_(std::move(upstream)),
      interval_(interval),
      attempt_timeout_(attempt_timeout),
      advancer_(new uv_idle_t),
      alarm_(loop_, *this) {
  uv_idle_init(loop_, advancer_.get());
  advancer_->data = this;
  // The timer is made here: there may be no memory for it later.
  alarm_.set(interval_);
  alarm_.clear();
}

UpstreamCheck::~UpstreamCheck() {
  if (link_) link_->close(scratch_);
}

void UpstreamCheck::wake() {
  uv_idle_start(advancer_.get(), [](uv_idle_t* idle) {
    uv_idle_stop(idle);
    static_cast<UpstreamCheck*>(idle->data)->advance_or_wait();
  });
}

// An exception must not leave a callback of libuv. After a lack of memory the check is made after the interval.
void UpstreamCheck::advance_or_wait() {
  try {
    advance();
  } catch (const std::bad_alloc&) {
    link_.reset();
    alarm_.set(interval_);
  }
}

void UpstreamCheck::advance() {
  if (!link_) {
    look_for_recovery();
    if (const Time wait = until_next(); wait.count() > 0) return alarm_.set(wait);
    dial();
  }
  switch (link_->advance(scratch_)) {
    case UpstreamLink::State::established: return end(nullptr);
    case UpstreamLink::State::failed: return end(&link_->failure());
    case UpstreamLink::State::connecting:
    case UpstreamLink::State::verifying: break;
  }
  const Time left = began_ + attempt_timeout_ - time_now();
  if (left.count() > 0) return alarm_.set(left);
  const Ending ending = link_->timed_out("take the connection");
  end(&ending);
}

void UpstreamCheck::dial() {
  began_ = time_now();
  link_ = std::make_unique<UpstreamLink>(services_, upstream_, upstream_->tls, static_cast<Wakeable&>(*this),
                                         attempt_timeout_, Course{}, local_proxy_header(upstream_->config));
}

// Null: the check has succeeded. A link does not note all failures itself: a session's time may just be over.
void UpstreamCheck::end(const Ending* failure) {
  last_check_ = time_now();
  if (failure != nullptr) upstream_->status->note_failed(failure->detail);
  if (upstream_->status->set_outage(failure != nullptr)) log_change(failure);
  link_->close(scratch_);
  link_.reset();
  alarm_.set(interval_);
}

// Zero or less: now. A failure of a session does not put the next check off.
UpstreamCheck::Time UpstreamCheck::until_next() const {
  if (!last_check_) return Time(0);
  const Time last = std::max(*last_check_, upstream_->status->values().connected.value_or(Time(0)));
  return last + interval_ - time_now();
}

// A session may have found that the server is there again.
void UpstreamCheck::look_for_recovery() {
  const auto values = upstream_->status->values();
  if (last_check_ && values.connected > last_check_ && !values.has_failed &&
      upstream_->status->set_outage(false))
    log_change(nullptr);
}

// One line for each outage, and one for its end.
void UpstreamCheck::log_change(const Ending* failure) const {
  const std::string& name = upstream_->config.name;
  if (failure == nullptr) {
    LogLine(LogLevel::info, "upstream_check_recovered").add("upstream", name);
    return;
  }
  LogLine(LogLevel::warning, "upstream_check_failed")
      .add("upstream", name)
      .add("reason", describe(failure->reason).name)
      .add("detail", failure->detail)
      .add("hint", failure->hint);
}

}  // namespace pgveil::proxy
