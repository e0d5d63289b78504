#include "proxy/credentials/scram_key_cache.h"

#include <optional>
#include <utility>

#include "proxy/credentials/scram_hash.h"
#include "tls/digest.h"

namespace pgveil::proxy {

struct ScramKeyCache::Entry {
  std::optional<protocol::ScramKeys> keys;
  std::vector<Request*> waiting;
};

// What a thread of libuv's pool works on. It owns the entry, so that the cache may be destroyed before it is done.
struct ScramKeyCache::Job {
  uv_work_t work{};
  protocol::SecretText password;
  protocol::ScramSalting salting;
  std::shared_ptr<Entry> entry;
  protocol::ScramKeys keys;
};

ScramKeyCache::Request::Request(std::shared_ptr<Entry> entry, Wakeable& waiter)
    : entry_(std::move(entry)), waiter_(waiter) {
  if (!entry_->keys) entry_->waiting.push_back(this);
}

ScramKeyCache::Request::~Request() {
  std::erase(entry_->waiting, this);
}

const protocol::ScramKeys* ScramKeyCache::Request::keys() const {
  return entry_->keys ? &*entry_->keys : nullptr;
}

ScramKeyCache::ScramKeyCache(uv_loop_t* loop, std::size_t capacity) : loop_(loop), capacity_(capacity) {
  tls::fill_random(naming_key_.bytes());
}

ScramKeyCache::~ScramKeyCache() = default;

std::unique_ptr<ScramKeyCache::Request> ScramKeyCache::request(const protocol::SecretText& password,
                                                               const protocol::ScramSalting& salting,
                                                               Wakeable& waiter) {
  const Name name = name_of(password, salting);
  auto& entry = entries_[name];
  if (!entry) {
    entry = std::make_shared<Entry>();
    by_age_.push_back(name);
    compute(password, salting, entry);
  }
  auto request = std::make_unique<Request>(entry, waiter);
  if (by_age_.size() > capacity_) {
    entries_.erase(by_age_.front());
    by_age_.pop_front();
  }
  return request;
}

ScramKeyCache::Name ScramKeyCache::name_of(const protocol::SecretText& password,
                                           const protocol::ScramSalting& salting) const {
  // The salt is of any length, so the two are told apart by hashing each.
  const auto password_mac = tls::hmac_sha256(
      naming_key_.view(),
      {reinterpret_cast<const std::uint8_t*>(password.view().data()), password.view().size()});
  std::vector<std::uint8_t> all = salting.salt;
  for (unsigned shift = 0; shift < 32; shift += 8)
    all.push_back(static_cast<std::uint8_t>(salting.iterations >> shift));
  for (const auto byte : password_mac) all.push_back(byte);  // g++ 14 warns of an overflow in insert()
  return tls::hmac_sha256(naming_key_.view(), all);
}

void ScramKeyCache::compute(const protocol::SecretText& password, const protocol::ScramSalting& salting,
                            std::shared_ptr<Entry> entry) {
  ++computations_;
  auto job = std::make_unique<Job>();
  job->work.data = job.get();
  job->password = protocol::SecretText(password.view());
  job->salting = salting;
  job->entry = std::move(entry);
  const int status = uv_queue_work(
      loop_, &job->work,
      [](uv_work_t* work) {
        Job& running = *static_cast<Job*>(work->data);
        running.keys =
            protocol::keys_of(salted_password(running.password.view(), running.salting), scram_hash());
      },
      [](uv_work_t* work, int /*status*/) {
        const std::unique_ptr<Job> done(static_cast<Job*>(work->data));
        Entry& finished = *done->entry;
        finished.keys = done->keys;
        // A waiter that is woken may end others, and itself.
        while (!finished.waiting.empty()) {
          Request* request = finished.waiting.back();
          finished.waiting.pop_back();
          request->waiter_.wake();
        }
      });
  if (status == 0) static_cast<void>(job.release());
}

}  // namespace pgveil::proxy
