#include "proxy/server/reloader.h"

#include <exception>
#include <utility>

#include "proxy/server/preparation.h"

namespace pgveil::proxy {
namespace {

constexpr int kAttempts = 3;
constexpr std::chrono::milliseconds kPause{500};

}  // namespace

Reloader::Reloader(uv_loop_t* loop, ConfigSource source, std::function<void(Reload)> on_loaded)
    : loop_(loop), source_(std::move(source)), on_loaded_(std::move(on_loaded)), pause_(loop, *this) {
  work_.data = this;
}

void Reloader::request(const std::string& trigger) {
  if (is_busy_) {
    next_ = trigger;
    return;
  }
  attempts_ = 0;
  trigger_ = trigger;
  begin_ = std::chrono::steady_clock::now();
  begin();
}

void Reloader::stop() {
  on_loaded_ = nullptr;
  pause_.clear();
}

void Reloader::wake() {
  begin();
}

void Reloader::begin() {
  pause_.clear();
  ++attempts_;
  is_busy_ = true;
  uv_queue_work(
      loop_, &work_, [](uv_work_t* work) { static_cast<Reloader*>(work->data)->load(); },
      [](uv_work_t* work, int /*status*/) { static_cast<Reloader*>(work->data)->on_done(); });
}

void Reloader::load() {
  try {
    auto parsed = source_();
    if (!parsed) {
      loaded_ = tl::unexpected(std::move(parsed).error());
      return;
    }
    auto prepared = prepare(*parsed);
    wipe_secrets(parsed->config);
    if (prepared)
      loaded_ = *std::move(prepared);
    else
      loaded_ = tl::unexpected(std::move(prepared.error().report));
  } catch (const std::exception& error) {  // no memory, for example
    ConfigReport report;
    report.add_error(value_error(error.what(), ""));
    loaded_ = tl::unexpected(std::move(report));
  }
}

void Reloader::on_done() {
  is_busy_ = false;
  auto loaded = *std::exchange(loaded_, std::nullopt);
  if (!on_loaded_) return;
  const bool is_final = loaded || (next_.empty() && attempts_ == kAttempts);
  if (is_final) {
    const auto duration =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin_);
    on_loaded_({trigger_, duration, std::move(loaded)});
  }
  if (!next_.empty())
    request(std::exchange(next_, ""));
  else if (!is_final)
    pause_.set(kPause);
}

}  // namespace pgveil::proxy
