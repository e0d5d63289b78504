// The objects that a stage of a session needs, so that a test can run it alone: a loop, the services of a
// worker, and a client that is a FakeStream.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "proxy/session/session_context.h"
#include "tests/support/captured_log.h"
#include "tests/support/fake_stream.h"
#include "tests/support/snapshot_of.h"

namespace pgveil::test {

class AStage : public ::testing::Test {
 protected:
  // Creates the context of a stage. `listener`, `upstream` and `limits` are the lines of their sections in a
  // configuration.
  proxy::SessionContext& begin(const std::string& listener, const std::string& upstream,
                               const std::string& limits = "") {
    const std::string text = "[limits]\n" + limits +
                             "\n[[listener]]\naddress = \"127.0.0.1:0\"\nupstream = \"a\"\n" + listener +
                             "\n[upstream.a]\n" + upstream + '\n';
    snapshot_ = test::snapshot_of(text);
    shared_.unauthenticated_clients.enter();
    usage_->unauthenticated_clients.enter();
    auto client = std::make_unique<FakeStream>();
    client_ = client.get();
    context_.reset(new proxy::SessionContext{.services = services_,
                                             .owner = owner_,
                                             .listener = proxy::SnapshotListener(snapshot_, 0),
                                             .origin = proxy::ClientOrigin(client_address_),
                                             .client = std::move(client),
                                             .deadline = proxy::Deadline(loop_.get(), owner_),
                                             .registration = proxy::SessionRegistration(shared_, usage_),
                                             .observer = proxy::SessionObserver()});
    return *context_;
  }

  // Runs the loop until `done` returns true. Returns false if the time limit has passed before.
  template <class Condition>
  [[nodiscard]] bool turn_until(Condition done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!done()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      uv_run(loop_.get(), UV_RUN_NOWAIT);
    }
    return true;
  }

  struct Owner final : proxy::Wakeable {
    int wakes = 0;
    void wake() override { ++wakes; }
  };

  test::CapturedLog log_{proxy::LogConfig{}};  // first: the others may write their last lines when they go
  Owner owner_;
  proxy::Loop loop_;
  proxy::SharedState shared_{1, 10, [] {}};
  const std::shared_ptr<proxy::ListenerUsage> usage_ = std::make_shared<proxy::ListenerUsage>([] {});
  proxy::Scratch scratch_{16'384};
  proxy::HandshakeQueue handshake_queue_{loop_.get()};
  proxy::Resolver resolver_{loop_.get()};
  proxy::ScramKeyCache key_cache_{loop_.get()};
  proxy::PasswordCommands commands_{loop_.get()};
  proxy::PreconnectPools preconnected_;
  proxy::SessionId closed_ = 0;  // the session that has closed last
  proxy::SessionServices services_{.worker = 1,
                                   .loop = loop_.get(),
                                   .scratch = scratch_,
                                   .ring = nullptr,
                                   .handshake_queue = handshake_queue_,
                                   .resolver = resolver_,
                                   .login = {key_cache_, commands_},
                                   .preconnected = preconnected_,
                                   .shared = shared_,
                                   .on_closed = [this](proxy::SessionId id) { closed_ = id; }};
  std::shared_ptr<const proxy::Snapshot> snapshot_;
  // Of the clients of begin(): an address of the network unless a test sets another one.
  proxy::KernelAddress client_address_ =
      *proxy::kernel_address(proxy::SocketAddress{.host = "127.0.0.1", .port = 40'000, .unix_path = ""});
  std::unique_ptr<proxy::SessionContext> context_;
  FakeStream* client_ = nullptr;  // of context_
};

}  // namespace pgveil::test
