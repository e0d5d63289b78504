#include <botan/auto_rng.h>
#include <botan/certstor.h>
#include <botan/credentials_manager.h>
#include <botan/data_src.h>
#include <botan/pkcs8.h>
#include <botan/tls_callbacks.h>
#include <botan/tls_client.h>
#include <botan/tls_policy.h>
#include <botan/tls_server.h>
#include <botan/tls_session_manager_noop.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "tunnel.h"

namespace {

using Bytes = std::vector<std::uint8_t>;

int descriptor;
Bytes ciphertext;  // to be sent
Bytes plaintext;   // to be read
bool ended;        // close_notify has come
std::unique_ptr<Botan::TLS::Channel> channel;

class Callbacks : public Botan::TLS::Callbacks {
  void tls_emit_data(std::span<const std::uint8_t> data) override {
    ciphertext.insert(ciphertext.end(), data.begin(), data.end());
  }
  void tls_record_received(std::uint64_t, std::span<const std::uint8_t> data) override {
    plaintext.insert(plaintext.end(), data.begin(), data.end());
  }
  void tls_alert(Botan::TLS::Alert alert) override {
    if (alert.type() == Botan::TLS::AlertType::CloseNotify) ended = true;
  }
};

class Policy : public Botan::TLS::Policy {
  bool allow_tls12() const override { return false; }
  bool require_cert_revocation_info() const override { return false; }
};

class Credentials : public Botan::Credentials_Manager {
 public:
  explicit Credentials(const settings& settings) {
    if (!settings.is_server) {
      authorities_.add_certificate(Botan::X509_Certificate(settings.authority));
      return;
    }
    chain_.emplace_back(settings.certificate);
    Botan::DataSource_Stream file(settings.key);
    key_ = Botan::PKCS8::load_key(file);
  }
  std::vector<Botan::Certificate_Store*> trusted_certificate_authorities(const std::string&,
                                                                         const std::string&) override {
    return {&authorities_};
  }
  std::vector<Botan::X509_Certificate> cert_chain(const std::vector<std::string>& types,
                                                  const std::vector<Botan::AlgorithmIdentifier>&,
                                                  const std::string&, const std::string&) override {
    const bool has_type = key_ && std::find(types.begin(), types.end(), key_->algo_name()) != types.end();
    return has_type ? chain_ : std::vector<Botan::X509_Certificate>();
  }
  std::shared_ptr<Botan::Private_Key> private_key_for(const Botan::X509_Certificate&, const std::string&,
                                                      const std::string&) override {
    return key_;
  }

 private:
  Botan::Certificate_Store_In_Memory authorities_;
  std::vector<Botan::X509_Certificate> chain_;
  std::shared_ptr<Botan::Private_Key> key_;
};

void flush(int flags) {
  while (!ciphertext.empty()) {
    const auto count = send(descriptor, ciphertext.data(), ciphertext.size(), flags | MSG_NOSIGNAL);
    if (count < 0 && errno == EAGAIN) return;
    if (count < 0) die("send", "the connection is gone");
    ciphertext.erase(ciphertext.begin(), ciphertext.begin() + count);
  }
}

// False: the end, or nothing has come.
bool receive(int flags) {
  static std::uint8_t bytes[1 << 15];
  const auto count = recv(descriptor, bytes, sizeof bytes, flags);
  if (count < 0 && errno == EAGAIN) return false;
  if (count <= 0 && !ended) die("read", "end without close_notify");
  if (count <= 0) return false;
  channel->received_data(std::span(bytes, static_cast<std::size_t>(count)));
  return true;
}

}  // namespace

void tls_start(const settings* settings) try {
  key_updates_received = -1;
  descriptor = settings->fd;
  const auto callbacks = std::make_shared<Callbacks>();
  const auto sessions = std::make_shared<Botan::TLS::Session_Manager_Noop>();
  const auto credentials = std::make_shared<Credentials>(*settings);
  const auto policy = std::make_shared<Policy>();
  const auto random = std::make_shared<Botan::AutoSeeded_RNG>();
  if (settings->is_server)
    channel = std::make_unique<Botan::TLS::Server>(callbacks, sessions, credentials, policy, random);
  else
    channel = std::make_unique<Botan::TLS::Client>(callbacks, sessions, credentials, policy, random,
                                                   Botan::TLS::Server_Information("localhost"));
  flush(0);
  while (!channel->is_handshake_complete()) {
    receive(0);
    flush(0);
  }
} catch (const std::exception& error) {
  die("handshake", error.what());
}

long tls_read(void* buffer, size_t size) try {
  flush(MSG_DONTWAIT);
  while (plaintext.empty() && !ended && receive(MSG_DONTWAIT)) flush(MSG_DONTWAIT);
  if (plaintext.empty()) return ended ? END : WOULD_BLOCK;
  const std::size_t count = std::min(size, plaintext.size());
  std::copy_n(plaintext.begin(), count, static_cast<std::uint8_t*>(buffer));
  plaintext.erase(plaintext.begin(), plaintext.begin() + static_cast<std::ptrdiff_t>(count));
  return static_cast<long>(count);
} catch (const std::exception& error) {
  die("read", error.what());
}

long tls_write(const void* buffer, size_t size) try {
  flush(MSG_DONTWAIT);
  if (!ciphertext.empty()) return WOULD_BLOCK;
  channel->send(std::span(static_cast<const std::uint8_t*>(buffer), size));
  flush(MSG_DONTWAIT);
  return static_cast<long>(size);
} catch (const std::exception& error) {
  die("write", error.what());
}

long tls_rekey(void) try {
  channel->update_traffic_keys(true);
  ++key_updates_sent;
  flush(MSG_DONTWAIT);
  return 1;
} catch (const std::exception& error) {
  die("rekey", error.what());
}

void tls_close(void) {
  channel->close();
  for (int tries = 0; tries < 100 && !ciphertext.empty(); ++tries) {
    pollfd writable{descriptor, POLLOUT, 0};
    poll(&writable, 1, 100);
    flush(MSG_DONTWAIT);
  }
}

const char* tls_version(void) {
  return "TLSv1.3";
}
