#include "tls/internal/key_shares.h"

#include <openssl/err.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <span>

#include "tls/internal/openssl.h"

namespace pgveil::tls {
namespace {

using HelloExtension = std::span<const unsigned char>;

struct Hello {
  std::vector<std::uint16_t> groups;
  std::vector<std::uint16_t> shares;
  bool is_out_of_memory = false;  // the groups could not be read
};

std::uint16_t number_at(HelloExtension bytes, std::size_t place) {
  return static_cast<std::uint16_t>(bytes[place] << 8U | bytes[place + 1]);
}

// Returns an empty span if the ClientHello has no such extension.
HelloExtension extension_of(SSL* ssl, unsigned type) {
  const unsigned char* data = nullptr;
  std::size_t size = 0;
  return SSL_client_hello_get0_ext(ssl, type, &data, &size) == 1 ? HelloExtension(data, size)
                                                                 : HelloExtension();
}

// RFC 8446, 4.2.7: a length, then numbers of two bytes. OpenSSL has written the extension, so it is
// well-formed.
std::vector<std::uint16_t> groups_of(HelloExtension extension) {
  std::vector<std::uint16_t> groups;
  for (std::size_t place = 2; place + 2 <= extension.size(); place += 2)
    groups.push_back(number_at(extension, place));
  return groups;
}

// RFC 8446, 4.2.8: a length, then for each share its group, its length and its bytes.
std::vector<std::uint16_t> shares_of(HelloExtension extension) {
  std::vector<std::uint16_t> groups;
  for (std::size_t place = 2; place + 4 <= extension.size(); place += 4U + number_at(extension, place + 2))
    groups.push_back(number_at(extension, place));
  return groups;
}

// An exception must not pass through OpenSSL's functions: hello_of() throws it again.
int look_at_hello(SSL* ssl, int* /*alert*/, void* hello) {
  auto& found = *static_cast<Hello*>(hello);
  try {
    found.groups = groups_of(extension_of(ssl, TLSEXT_TYPE_supported_groups));
    found.shares = shares_of(extension_of(ssl, TLSEXT_TYPE_key_share));
  } catch (const std::bad_alloc&) {
    found.is_out_of_memory = true;
  }
  return SSL_CLIENT_HELLO_ERROR;  // ends the handshake, which is not needed any more
}

// Returns the groups in the ClientHello of a connection of `context`. A server connection of OpenSSL parses
// it.
Hello hello_of(SSL_CTX* context) {
  Hello hello;
  const SslContext server_context(SSL_CTX_new(TLS_server_method()));
  const Ssl client(SSL_new(context));
  if (!server_context || !client) return hello;
  SSL_CTX_set_client_hello_cb(server_context.get(), look_at_hello, &hello);
  const Ssl server(SSL_new(server_context.get()));
  BIO* line = BIO_new(BIO_s_mem());
  if (!server || line == nullptr) return hello;
  BIO_up_ref(line);
  SSL_set_bio(client.get(), BIO_new(BIO_s_mem()), line);
  SSL_set_bio(server.get(), line, BIO_new(BIO_s_mem()));
  SSL_connect(client.get());
  SSL_accept(server.get());
  ERR_clear_error();
  if (hello.is_out_of_memory) throw std::bad_alloc();
  return hello;
}

std::vector<std::string> names_of(SSL* ssl, const std::vector<std::uint16_t>& groups) {
  std::vector<std::string> names;
  for (const std::uint16_t group : groups) {
    const char* name = SSL_group_to_name(ssl, TLSEXT_nid_unknown | group);
    if (name != nullptr) names.emplace_back(name);
  }
  return names;
}

// Returns a list for SSL_set1_groups_list(): a share of the first group is sent, the others are offered.
std::string list_with_first(std::size_t first, const std::vector<std::string>& names) {
  std::string list = names[first];
  for (std::size_t i = 0; i < names.size(); ++i)
    if (i != first) list += ':' + names[i];
  return list;
}

// Does the same as SSL_set1_groups_list() without the macro's C cast.
bool set_groups(SSL* ssl, const std::string& list) {
  return SSL_ctrl(ssl, SSL_CTRL_SET_GROUPS_LIST, 0, const_cast<char*>(list.c_str())) == 1;
}

}  // namespace

KeyShares::KeyShares(ssl_ctx_st* context) {
  const Hello hello = hello_of(context);
  const Ssl any(SSL_new(context));
  if (!any || hello.shares.empty()) return;
  offered_ = names_of(any.get(), hello.groups);
  shared_ = names_of(any.get(), hello.shares);
  // A group without a name cannot be offered again; then nothing is remembered.
  if (offered_.size() != hello.groups.size()) offered_.clear();
  for (std::size_t i = 0; i < offered_.size(); ++i) lists_.push_back(list_with_first(i, offered_));
}

KeyShares::Choice KeyShares::choose(ssl_st* ssl, const std::string& host, Clock::time_point now) const {
  std::size_t group = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto found = remembered_.find(host);
    if (found == remembered_.end() || now >= found->second.until) return Choice::own;
    group = found->second.group;
  }
  if (set_groups(ssl, lists_[group])) return Choice::remembered;
  ERR_clear_error();
  return Choice::own;
}

void KeyShares::learn(ssl_st* ssl, const std::string& host, Choice choice, Clock::time_point now) {
  if (SSL_version(ssl) < TLS1_3_VERSION) return;
  const long number = SSL_get_negotiated_group(ssl);
  const char* name = number > 0 ? SSL_group_to_name(ssl, static_cast<int>(number)) : nullptr;
  const auto found = name == nullptr ? offered_.end() : std::ranges::find(offered_, name);
  // If OpenSSL's own choice is exactly this share, there is nothing to improve.
  const bool is_own_choice = found != offered_.end() && shared_.size() == 1 && shared_.front() == *found;
  if (found == offered_.end() || is_own_choice) return forget(host);

  const std::lock_guard lock(mutex_);
  const auto [memory, is_new] = remembered_.try_emplace(host);
  memory->second.group = static_cast<std::size_t>(found - offered_.begin());
  if (is_new || choice == Choice::own) memory->second.until = now + kRememberedFor;
}

void KeyShares::forget(const std::string& host) {
  const std::lock_guard lock(mutex_);
  remembered_.erase(host);
}

}  // namespace pgveil::tls
