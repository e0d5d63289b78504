// SCRAM's keys of passwords, computed off the loop. What has been computed is kept for the next login: a
// password that logs in again and again costs its thousands of hashes once.
#pragma once

#include <uv.h>

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "protocol/scram.h"
#include "protocol/secret.h"
#include "proxy/base/handle.h"

namespace pgveil::proxy {

// A worker's. Not thread-safe.
class ScramKeyCache {
 public:
  struct Entry;

  // Somebody who waits for keys, or has them.
  class Request {
   public:
    Request(std::shared_ptr<Entry> entry, Wakeable& waiter);
    ~Request();
    Request(const Request&) = delete;
    Request& operator=(const Request&) = delete;

    // Null: not computed yet. The waiter is woken then.
    [[nodiscard]] const protocol::ScramKeys* keys() const;

   private:
    friend class ScramKeyCache;
    std::shared_ptr<Entry> entry_;
    Wakeable& waiter_;
  };

  // `capacity`: how many keys are kept; the oldest go first.
  explicit ScramKeyCache(uv_loop_t* loop, std::size_t capacity = 4096);
  // What is being computed is finished by the loop, and dropped.
  ~ScramKeyCache();
  ScramKeyCache(const ScramKeyCache&) = delete;
  ScramKeyCache& operator=(const ScramKeyCache&) = delete;

  [[nodiscard]] std::unique_ptr<Request> request(const protocol::SecretText& password,
                                                 const protocol::ScramSalting& salting, Wakeable& waiter);

  // How many times a password has been hashed.
  [[nodiscard]] std::uint64_t computations() const { return computations_; }

 private:
  struct Job;
  // The HMAC of password and salting, with a key that only this object has: without the key nobody can tell or guess the
  // password from it.
  using Name = std::array<std::uint8_t, 32>;

  [[nodiscard]] Name name_of(const protocol::SecretText& password,
                             const protocol::ScramSalting& salting) const;
  void compute(const protocol::SecretText& password, const protocol::ScramSalting& salting,
               std::shared_ptr<Entry> entry);

  uv_loop_t* loop_;
  const std::size_t capacity_;
  protocol::SecretKey naming_key_;
  std::map<Name, std::shared_ptr<Entry>> entries_;
  std::deque<Name> by_age_;
  std::uint64_t computations_ = 0;
};

}  // namespace pgveil::proxy
