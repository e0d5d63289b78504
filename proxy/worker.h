// A loop and the sessions on it. Nothing of a session is ever touched from outside its worker's thread.
#pragma once

#include <uv.h>

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/cancel.h"
#include "proxy/session.h"

namespace pgveil::proxy {

class Worker final : public SessionHost {
 public:
  Worker(uv_loop_t* loop, std::shared_ptr<const Snapshot> snapshot);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Begins a session for an accepted, non-blocking socket, which the session owns from here on.
  void adopt(int descriptor, const KernelAddress& peer, const ListenerPolicy& listener,
             const std::string& listener_address);

  // Ends every session; `when_empty` is called once the last one is gone.
  void shut_down(std::function<void()> when_empty);
  // Drops whatever is left, without a word.
  void abandon();

  // For its sessions.
  uv_loop_t* loop() override { return loop_; }
  Scratch& scratch() override { return scratch_; }
  CancelRoutes& cancel_routes() override { return cancel_routes_; }
  LoginServices login_services() override { return {scram_keyring_, password_commands_}; }
  bool enter_session() override;
  void leave_session() override { --established_; }
  bool enter_cancel() override;
  void leave_cancel() override { --cancels_; }
  void session_over(SessionId id) override;

  [[nodiscard]] std::size_t population() const { return sessions_.size(); }

 private:
  void reap();

  uv_loop_t* loop_;
  std::shared_ptr<const Snapshot> snapshot_;
  Scratch scratch_;
  CancelRoutes cancel_routes_;
  ScramKeyring scram_keyring_;
  PasswordCommands password_commands_;
  std::unordered_map<SessionId, std::unique_ptr<Session>> sessions_;
  std::vector<SessionId> over_;  // to be destroyed at the next turn of the loop
  Handle<uv_idle_t> reaper_;
  std::function<void()> when_empty_;
  SessionId next_id_;
  std::size_t established_ = 0;
  std::size_t cancels_ = 0;
};

}  // namespace pgveil::proxy
