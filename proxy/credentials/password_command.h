// password_command: a program of the operator's that prints the password of a login, such as a token of a
// cloud's. It is run on the worker's loop, and what it printed is kept for as long as the operator says.
#pragma once

#include <uv.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <tuple>
#include <vector>

#include "protocol/secret.h"
#include "proxy/base/handle.h"
#include "proxy/config/command_template.h"

namespace pgveil::proxy {

// As the operator set it.
struct PasswordCommandConfig {
  // The program, looked for in PATH, and its arguments; no shell reads them. In the arguments %h is the host,
  // %p the port, %u the user, %d the database of the login, and %% a percent sign.
  std::vector<std::string> argv;
  std::chrono::milliseconds timeout{};  // 0: none
  std::chrono::milliseconds ttl{};      // how long a password is good for others, too; 0: not at all
};

// Or why there is none: a sentence for the log, with nothing of what the command printed.
using PasswordAnswer = tl::expected<std::shared_ptr<const protocol::SecretText>, std::string>;

class PasswordRequest;

// The commands of one worker, and the passwords that they printed. Equal requests share both. Commands that
// run are ended with this, by SIGKILL to their process groups; the loop must run on until they are reaped,
// which is at once.
class PasswordCommands {
 public:
  using Clock = std::chrono::steady_clock;
  struct Limits {
    std::size_t running = 256;    // each new user and database of a client's begins a process
    std::size_t cached = 10'000;  // passwords; beyond it the one goes that would expire first
  };

  // `now`: tells when a password has been kept for long enough.
  explicit PasswordCommands(uv_loop_t* loop) : PasswordCommands(loop, Limits{}, Clock::now) {}
  PasswordCommands(uv_loop_t* loop, Limits limits, std::function<Clock::time_point()> now);
  ~PasswordCommands();
  PasswordCommands(const PasswordCommands&) = delete;
  PasswordCommands& operator=(const PasswordCommands&) = delete;

  // `waiter` must outlive what is returned, and is woken once that has an answer, unless it has one already.
  // A command for which nobody waits any more is ended. `config` must have passed check_password_command().
  [[nodiscard]] std::unique_ptr<PasswordRequest> request(const PasswordCommandConfig& config,
                                                         const PasswordTarget& target, Wakeable& waiter);

  // For a password that the server would not have: it is not given out again. One that has come since is
  // kept.
  void forget(const PasswordCommandConfig& config, const PasswordTarget& target,
              const protocol::SecretText& refused);

 private:
  friend class PasswordRequest;
  class Command;
  struct Key {
    PasswordCommandConfig config;
    PasswordTarget target;

    [[nodiscard]] auto all() const {
      return std::tie(config.argv, config.timeout, config.ttl, target.host, target.port, target.user,
                      target.database);
    }
    bool operator<(const Key& other) const { return all() < other.all(); }
  };
  struct Cached;
  using Cache = std::map<Key, Cached>;
  using Expiries = std::multimap<Clock::time_point, Cache::iterator>;
  struct Cached {
    std::shared_ptr<const protocol::SecretText> password;
    Expiries::iterator expiry;
  };

  void ended(const Command& command, const PasswordAnswer& answer);
  void keep(const Key& key, std::shared_ptr<const protocol::SecretText> password);
  void drop(Cache::iterator cached);
  void drop_expired();

  uv_loop_t* loop_;
  Limits limits_;
  std::function<Clock::time_point()> now_;
  std::map<Key, Command*> running_;  // each owns itself until it is reaped
  Cache cache_;
  Expiries expiries_;  // of everything in cache_
};

// One who waits for a password, or has it. Destroyed, it waits no more.
class PasswordRequest {
 public:
  ~PasswordRequest();
  PasswordRequest(const PasswordRequest&) = delete;
  PasswordRequest& operator=(const PasswordRequest&) = delete;

  // nullopt: the command is still running.
  [[nodiscard]] const std::optional<PasswordAnswer>& answer() const { return answer_; }

 private:
  friend class PasswordCommands;
  explicit PasswordRequest(Wakeable& waiter) : waiter_(waiter) {}

  Wakeable& waiter_;
  PasswordCommands::Command* command_ = nullptr;  // while there is no answer
  std::optional<PasswordAnswer> answer_;
};

}  // namespace pgveil::proxy
