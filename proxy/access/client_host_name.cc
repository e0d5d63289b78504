#include "proxy/access/client_host_name.h"

#include <algorithm>
#include <new>
#include <utility>

namespace pgveil::proxy {
namespace {

bool is_same_host(const KernelAddress& left, const KernelAddress& right) {
  const auto host_of = [](const KernelAddress& address) {
    const std::string text = address.text();
    return text.substr(0, text.rfind(':'));
  };
  return left.family() == right.family() && host_of(left) == host_of(right);
}

}  // namespace

ClientHostName::ClientHostName(Resolver& resolver, const KernelAddress& client, Wakeable& owner)
    : resolver_(resolver), client_(client), owner_(owner), lookup_(resolver.name_of(client, *this)) {
  advance();
}

// Called by the loop, through which no exception may go. Without memory for it the client has no name.
void ClientHostName::wake() {
  try {
    advance();
  } catch (const std::bad_alloc&) {
    lookup_.reset();
    found_.emplace();
  }
  if (found_) owner_.wake();
}

// From the address to the name, and back.
void ClientHostName::advance() {
  while (lookup_ && lookup_->answer()) {
    const auto done = std::exchange(lookup_, nullptr);
    const Resolver::Answer& answer = *done->answer();
    if (name_.empty() && !answer.name.empty()) {
      name_ = answer.name;
      lookup_ = resolver_.addresses_of(name_, *this);
      continue;
    }
    const bool is_confirmed =
        std::any_of(answer.addresses.begin(), answer.addresses.end(),
                    [this](const KernelAddress& address) { return is_same_host(client_, address); });
    found_ = is_confirmed ? name_ : "";
  }
}

}  // namespace pgveil::proxy
