#include "proxy/workers.h"

#include <algorithm>
#include <array>
#include <utility>

#include "tls/digest.h"

namespace pgveil::proxy {
namespace {

// A process starts somewhere else each time, so that two of its runs do not share session ids in a log.
SessionId random_start() {
  std::array<std::uint8_t, 2> bytes{};
  tls::fill_random(bytes);
  return (SessionId{bytes[0]} << 40U) | (SessionId{bytes[1]} << 32U);
}

}  // namespace

Workers::Workers(uv_loop_t* loop, std::shared_ptr<const Snapshot> snapshot, unsigned count,
                 std::vector<std::unique_ptr<Ring>> rings)
    : snapshot_(std::move(snapshot)), commons_(count), last_id_(random_start()), emptied_(new uv_async_t) {
  uv_async_init(loop, emptied_.get(),
                [](uv_async_t* rung) { static_cast<Workers*>(rung->data)->on_emptied(); });
  emptied_->data = this;
  rings.resize(count);
  for (unsigned number = 1; number <= count; ++number)
    threads_.push_back(
        std::make_unique<WorkerThread>(number, commons_, snapshot_, std::move(rings[number - 1])));
}

Workers::~Workers() {
  static_cast<void>(abandon());
}

void Workers::adopt(Descriptor client, const KernelAddress& peer, const ListenerPolicy& listener,
                    const std::string& listener_address) {
  threads_[least_loaded(loads())]->adopt({.id = ++last_id_,
                                          .descriptor = std::move(client),
                                          .peer = peer,
                                          .listener = &listener,
                                          .listener_address = listener_address});
}

std::vector<std::size_t> Workers::loads() const {
  std::vector<std::size_t> loads;
  loads.reserve(threads_.size());
  for (const auto& thread : threads_) loads.push_back(thread->load());
  return loads;
}

void Workers::shut_down(std::function<void()> when_empty) {
  when_empty_ = std::move(when_empty);
  not_empty_ = threads_.size();
  for (const auto& thread : threads_)
    thread->shut_down([this] {
      if (--not_empty_ == 0) uv_async_send(emptied_.get());
    });
}

std::size_t Workers::abandon() {
  // All are told before any is waited for.
  for (const auto& thread : threads_) thread->abandon();
  std::size_t abandoned = 0;
  for (const auto& thread : std::exchange(threads_, {})) abandoned += thread->join();
  return abandoned;
}

void Workers::on_emptied() {
  if (when_empty_) std::exchange(when_empty_, nullptr)();
}

std::size_t least_loaded(std::span<const std::size_t> loads) {
  return static_cast<std::size_t>(std::min_element(loads.begin(), loads.end()) - loads.begin());
}

}  // namespace pgveil::proxy
