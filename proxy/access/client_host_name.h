// The host name of a client, for rules that go by names: looked up from its address, and believed only if the
// name leads back to that address, as PostgreSQL does (hba.c: check_hostname).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "proxy/base/handle.h"
#include "proxy/base/resolver.h"
#include "proxy/base/socket_address.h"

namespace pgveil::proxy {

class ClientHostName final : private Wakeable {
 public:
  // Begins to look it up; `owner` is woken once found() is set, unless it is set at once. `resolver` and
  // `owner` must outlive this.
  ClientHostName(Resolver& resolver, const KernelAddress& client, Wakeable& owner);

  // nullopt: not known yet. Empty: the client has no name that can be believed.
  [[nodiscard]] const std::optional<std::string>& found() const { return found_; }

 private:
  void wake() override;
  void advance();

  Resolver& resolver_;
  const KernelAddress client_;
  Wakeable& owner_;
  std::optional<std::string> found_;
  std::string name_;                           // to be confirmed; empty: not known yet
  std::unique_ptr<Resolver::Request> lookup_;  // under way
};

}  // namespace pgveil::proxy
