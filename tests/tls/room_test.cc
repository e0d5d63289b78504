// The caller's output buffer is small, and is full at any place: nothing is lost, and each call makes
// progress.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/tls/peers.h"

namespace pgveil::tls::test {
namespace {

using Status = Engine::Status;

std::string some_text(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 % 251);
  return text;
}

// Returns the ciphertext of `text`, written in calls with `room` bytes each. Each call must write something.
Bytes written(Engine& engine, std::string_view text, std::size_t room) {
  const Bytes bytes = bytes_of(text);
  ByteView rest(bytes);
  Bytes memory(room);
  Bytes sent;
  for (;;) {
    Outgoing out(memory);
    const auto status = engine.write(rest, out);
    sent.insert(sent.end(), out.written().begin(), out.written().end());
    if (status == Status::ready) return sent;
    EXPECT_EQ(static_cast<int>(status), static_cast<int>(Status::want_room));
    if (out.written().empty()) {
      ADD_FAILURE() << "a room of " << room << " is not enough to get on";
      return sent;
    }
  }
}

class Room : public testing::TestWithParam<Version> {
 protected:
  void SetUp() override {
    auto settings = site_.client_settings();
    settings.ssl_max_protocol_version = GetParam();
    client_context_ = Site::build(settings);
    server_context_ = Site::build(site_.server_settings());
  }
  [[nodiscard]] EngineEnd client(std::size_t room = 65'536) const {
    return EngineEnd(Engine::to_server(client_context_, {.host = Site::kHost}), room);
  }
  [[nodiscard]] EngineEnd server(std::size_t room = 65'536) const {
    return EngineEnd(Engine::to_client(server_context_, false), room);
  }

  Site site_;
  std::shared_ptr<const ClientContext> client_context_;
  std::shared_ptr<const ServerContext> server_context_;
};

TEST_P(Room, OfOneOctetIsEnoughForAHandshake) {
  for (std::size_t room = 1; room <= 80; ++room) {
    EngineEnd client_end = client(room);
    EngineEnd server_end = server(room);
    ASSERT_TRUE(shake_hands(client_end, server_end)) << room;
    std::string received;
    ASSERT_EQ(server_end.read(client_end.write("query"), received), Status::want_input) << room;
    ASSERT_EQ(client_end.read(server_end.write("answer"), received), Status::want_input) << room;
    ASSERT_EQ(received, "queryanswer") << room;
  }
}

TEST_P(Room, OfAnySizeFromTheLeastCarriesData) {
  EngineEnd client_end = client();
  EngineEnd server_end = server();
  ASSERT_TRUE(shake_hands(client_end, server_end));
  const std::string text = some_text(2'000);
  const auto expect_all = [&](std::size_t room, const std::string& all) {
    std::string received;
    ASSERT_EQ(server_end.read(written(client_end.engine(), all, room), received), Status::want_input) << room;
    ASSERT_TRUE(received == all) << room;
  };
  for (std::size_t room = kMinRoom; room < 600; ++room) expect_all(room, text);
  const std::string large = some_text(40'000);
  for (std::size_t room = kMaxRecordPlaintext - 4; room < kMaxRecordPlaintext + 300; room += 7)
    expect_all(room, large);
}

TEST_P(Room, ForPlaintextMayBeOfAnySize) {
  EngineEnd client_end = client();
  EngineEnd server_end = server();
  ASSERT_TRUE(shake_hands(client_end, server_end));
  const std::string text = some_text(1'000);
  for (std::size_t room = 1; room <= 1'100; room += room < 300 ? 1 : 50) {
    const Bytes sent = client_end.write(text);
    ByteView ciphertext(sent);
    Bytes plaintext(room);
    Bytes memory(kMinRoom);
    std::string received;
    for (;;) {
      Outgoing out(memory);
      const auto [status, size] = server_end.engine().read(ciphertext, plaintext, out);
      received.append(plaintext.begin(), plaintext.begin() + static_cast<std::ptrdiff_t>(size));
      if (status != Status::ready) {
        ASSERT_EQ(static_cast<int>(status), static_cast<int>(Status::want_input));
        break;
      }
      ASSERT_EQ(size, room);
    }
    ASSERT_TRUE(received == text) << room;
  }
}

INSTANTIATE_TEST_SUITE_P(Version, Room, testing::Values(Version::tls1_2, Version::tls1_3),
                         [](const auto& row) { return row.param == Version::tls1_2 ? "Tls12" : "Tls13"; });

// The reply to a KeyUpdate comes before the data, for any size of the buffer.
TEST(RoomForANewKey, MayBeOfAnySizeFromTheLeast) {
  const Site site;
  const auto context = openssl_server(site.server);
  auto client = site.engine_to_server();
  OpenSslEnd server(context.get(), OpenSslEnd::Side::server);
  ASSERT_EQ(shake_hands(client, server), Status::ready);
  const std::string text = some_text(300);
  for (std::size_t room = kMinRoom; room < 400; ++room) {
    ASSERT_EQ(SSL_key_update(server.ssl(), SSL_KEY_UPDATE_REQUESTED), 1);
    std::string received;
    ASSERT_EQ(client.read(server.write("query"), received), Status::want_input) << client.failure().reason;
    ASSERT_EQ(received, "query");
    ASSERT_TRUE(server.read(written(client.engine(), text, room)) == text) << room << ": " << server.error();
  }
}

}  // namespace
}  // namespace pgveil::tls::test
