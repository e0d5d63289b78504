// The host name of a client, for rules that go by names: looked up from its address, and believed only if the
// name leads back to that address, as PostgreSQL does (hba.c: check_hostname).
#pragma once

#include <uv.h>

#include <optional>
#include <string>

#include "proxy/address.h"
#include "proxy/handle.h"

namespace pgveil::proxy {

class ClientName {
 public:
  // Begins to look it up; `owner` is woken once found() is set, and must outlive this.
  ClientName(uv_loop_t* loop, const KernelAddress& client, Wakeable& owner);
  ~ClientName();
  ClientName(const ClientName&) = delete;
  ClientName& operator=(const ClientName&) = delete;

  // nullopt: not known yet. Empty: the client has no name that can be believed.
  [[nodiscard]] const std::optional<std::string>& found() const { return found_; }

 private:
  struct Lookup;

  void look_up_name();
  void confirm(std::string name);
  void finish(std::string name);

  uv_loop_t* loop_;
  KernelAddress client_;
  Wakeable& owner_;
  std::optional<std::string> found_;
  Lookup* lookup_ = nullptr;  // libuv's while it is under way
};

}  // namespace pgveil::proxy
