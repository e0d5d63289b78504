#include "proxy/client_name.h"

#include <netdb.h>

#include <memory>
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

bool is_among(const KernelAddress& client, const addrinfo* addresses) {
  for (const addrinfo* each = addresses; each != nullptr; each = each->ai_next)
    if (is_same_host(client, kernel_address(each->ai_addr, each->ai_addrlen))) return true;
  return false;
}

}  // namespace

// What libuv's resolver threads work on; outlives a session that goes while the answer is still out.
struct ClientName::Lookup {
  uv_getnameinfo_t by_address{};
  uv_getaddrinfo_t by_name{};
  ClientName* asker = nullptr;
  std::string name;
};

ClientName::ClientName(uv_loop_t* loop, const KernelAddress& client, Wakeable& owner)
    : loop_(loop), client_(client), owner_(owner) {
  look_up_name();
}

ClientName::~ClientName() {
  if (lookup_ != nullptr) lookup_->asker = nullptr;
}

void ClientName::look_up_name() {
  auto lookup = std::make_unique<Lookup>();
  lookup->asker = this;
  lookup->by_address.data = lookup.get();
  const int status = uv_getnameinfo(
      loop_, &lookup->by_address,
      [](uv_getnameinfo_t* request, int result, const char* host, const char* /*service*/) {
        const std::unique_ptr<Lookup> done(static_cast<Lookup*>(request->data));
        if (done->asker == nullptr) return;
        done->asker->lookup_ = nullptr;
        if (result == 0 && host != nullptr)
          done->asker->confirm(host);
        else
          done->asker->finish("");
      },
      client_.get(), NI_NAMEREQD);
  if (status == 0)
    lookup_ = lookup.release();
  else
    found_ = "";
}

void ClientName::confirm(std::string name) {
  auto lookup = std::make_unique<Lookup>();
  lookup->asker = this;
  lookup->name = std::move(name);
  lookup->by_name.data = lookup.get();
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  const int status = uv_getaddrinfo(
      loop_, &lookup->by_name,
      [](uv_getaddrinfo_t* request, int result, addrinfo* addresses) {
        const std::unique_ptr<Lookup> done(static_cast<Lookup*>(request->data));
        if (auto* asker = done->asker) {
          asker->lookup_ = nullptr;
          const bool confirmed = result == 0 && is_among(asker->client_, addresses);
          asker->finish(confirmed ? done->name : "");
        }
        uv_freeaddrinfo(addresses);
      },
      lookup->name.c_str(), nullptr, &hints);
  if (status == 0)
    lookup_ = lookup.release();
  else
    finish("");
}

void ClientName::finish(std::string name) {
  found_ = std::move(name);
  owner_.wake();
}

}  // namespace pgveil::proxy
