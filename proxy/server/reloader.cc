#include "proxy/server/reloader.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "proxy/config/config_files.h"
#include "proxy/server/preparation.h"

namespace pgveil::proxy {
namespace {

constexpr int kAttempts = 3;
constexpr std::chrono::milliseconds kPauseBetweenAttempts{500};

std::set<std::string> paths_of(const FileDigests& files) {
  std::set<std::string> paths;
  for (const auto& [path, digest] : files) paths.insert(path);
  return paths;
}

// Returns whether a file that is in both has another digest.
bool differ(const FileDigests& before, const FileDigests& after) {
  return std::ranges::any_of(before, [&](const auto& file) {
    const auto found = after.find(file.first);
    return found != after.end() && found->second != file.second;
  });
}

}  // namespace

Reloader::Reloader(uv_loop_t* loop, ConfigSource source, FileDigests files,
                   std::function<void(Reload)> on_loaded)
    : loop_(loop),
      source_(std::move(source)),
      on_loaded_(std::move(on_loaded)),
      pause_(loop, *this),
      files_(std::move(files)) {
  work_.data = this;
}

void Reloader::request(const std::string& trigger, ReloadIf when) {
  if (is_busy_) {
    if (when == ReloadIf::always || !is_another_requested()) next_ = {trigger, when};
    return;
  }
  // The next attempt reads what has changed.
  if (is_running_ && when == ReloadIf::changed) return;
  request_ = {trigger, when};
  begin_ = std::chrono::steady_clock::now();
  is_running_ = true;
  attempts_ = 0;
  begin();
}

void Reloader::forget_changes() {
  if (next_ && next_->when == ReloadIf::changed && !must_read_again_) next_.reset();
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
  FileDigests before;
  try {
    read_ = paths_of(files_);
    before = digest_files(read_);
    if (request_.when == ReloadIf::changed && attempts_ == 1 && before == files_) return;
    loaded_ = load_snapshot();
    const FileDigests& now = *loaded_ ? (**loaded_)->files : digest_files(read_);
    changed_while_read_ = differ(before, now);
    // After a failure that another attempt may mend, the files count as changed.
    if (*loaded_ || attempts_ == kAttempts) files_ = now;
  } catch (const std::exception& error) {  // no memory, for example
    ConfigReport report;
    report.add_error(value_error(error.what(), ""));
    loaded_ = tl::unexpected(std::move(report));
    if (attempts_ == kAttempts && !before.empty()) files_ = std::move(before);
  }
}

tl::expected<std::shared_ptr<const Snapshot>, ConfigReport> Reloader::load_snapshot() {
  auto parsed = source_();
  if (!parsed) return tl::unexpected(std::move(parsed).error());
  read_.merge(config_files(*parsed));
  auto prepared = prepare(*parsed, Occasion::reload);
  wipe_secrets(parsed->config);
  if (!prepared) {
    const auto& included = prepared.error().report.files();
    read_.insert(included.begin(), included.end());
    return tl::unexpected(std::move(prepared.error().report));
  }
  read_ = paths_of((*prepared)->files);
  return *std::move(prepared);
}

void Reloader::on_done() {
  is_busy_ = false;
  auto loaded = std::exchange(loaded_, std::nullopt);
  if (!on_loaded_) return;
  must_read_again_ = std::exchange(changed_while_read_, false) && !is_another_requested();
  if (must_read_again_ && !next_) next_ = request_;
  const bool has_failed = loaded && !*loaded;
  // The next attempt reads what has changed meanwhile.
  if (has_failed && attempts_ < kAttempts && next_ && next_->when == ReloadIf::changed) next_.reset();
  // A newer request may mend an error.
  const bool is_final =
      !has_failed || (attempts_ == kAttempts && !(next_ && next_->when == ReloadIf::always));
  if (is_final) is_running_ = false;
  if (is_final && loaded) finish(*std::move(loaded));
  must_read_again_ = false;
  if (next_) {
    const Request next = *std::exchange(next_, std::nullopt);
    request(next.trigger, next.when);
  } else if (!is_final) {
    pause_.set(kPauseBetweenAttempts);
  }
}

void Reloader::finish(tl::expected<std::shared_ptr<const Snapshot>, ConfigReport> loaded) {
  const auto duration =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin_);
  on_loaded_({request_.trigger, duration, std::move(loaded), read_});
}

}  // namespace pgveil::proxy
