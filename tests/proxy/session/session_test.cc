#include "proxy/session/session.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <set>
#include <string>

#include "tests/support/certificates.h"
#include "tests/support/failing_memory.h"
#include "tests/support/stage_fixture.h"
#include "tests/support/unix_server.h"

namespace pgveil::proxy {
namespace {

const std::string kStartupOfApp("\0\0\0\x12\0\x03\0\0user\0app\0\0", 18);
const std::string kLetIn("R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I", 15);

// One session without a worker. Its client is one end of a socket pair.
class ASession : public test::AStage {
 protected:
  // `more`: further sections of the configuration.
  void accept(const std::string& host, SessionId id = kId, const std::string& more = "") {
    begin("hba = \"local all all relay\"", "host = \"" + host + "\"\n" + more);
    context_.reset();  // the session creates its own context
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
    peer_ = Descriptor(ends[1]);
    KernelAddress address;
    address.storage.ss_family = AF_UNIX;
    address.size = sizeof address.storage.ss_family;
    shared_.unauthenticated_clients.enter();
    usage_->unauthenticated_clients.enter();
    session_.emplace(services_, SessionRegistration(shared_, usage_), id,
                     *watch_socket(loop_.get(), Descriptor(ends[0])), address, SnapshotListener(snapshot_, 0),
                     "a listener");
    session_->wake();
  }
  void send(const std::string& bytes) const {
    ASSERT_EQ(::send(peer_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  std::string& receive() {
    std::array<char, 4096> bytes{};
    const ssize_t size = ::recv(peer_.get(), bytes.data(), bytes.size(), 0);
    if (size > 0) received_.append(bytes.data(), static_cast<std::size_t>(size));
    return received_;
  }

  static constexpr SessionId kId = 42;
  test::TemporaryFolder folder_;
  test::UnixServer server_{folder_.path("")};
  Descriptor peer_{-1};
  std::string received_;
  std::optional<Session> session_;
};

TEST_F(ASession, LivesFromTheStartupMessageToTheEndOfItsClient) {
  accept(folder_.path(""));
  send(kStartupOfApp);
  ASSERT_TRUE(turn_until([&] { return server_.accept(); }));
  server_.send(kLetIn);
  ASSERT_TRUE(turn_until([&] { return receive() == kLetIn; }));
  EXPECT_EQ(shared_.sessions.taken(), 1U);
  send("query");
  std::string query;
  ASSERT_TRUE(turn_until([&] { return (query += server_.received()).ends_with("query"); }));
  peer_ = Descriptor(-1);
  ASSERT_TRUE(turn_until([&] {
    server_.close();
    return closed_ == kId;
  }));
  EXPECT_EQ(shared_.sessions.taken(), 0U);
}

TEST_F(ASession, TellsItsClientWhyItEnds) {
  accept("/nonexistent");
  send(kStartupOfApp);
  ASSERT_TRUE(turn_until([&] { return receive().find("C57P03") != std::string::npos; }));
  EXPECT_EQ(closed_, 0U);  // the session waits until its client closes
  peer_ = Descriptor(-1);
  EXPECT_TRUE(turn_until([&] { return closed_ == kId; }));
}

TEST_F(ASession, TellsItsClientThatTheProcessEnds) {
  accept(folder_.path(""));
  send(kStartupOfApp);
  ASSERT_TRUE(turn_until([&] { return server_.accept(); }));
  server_.send(kLetIn);
  ASSERT_TRUE(turn_until([&] { return receive() == kLetIn; }));
  session_->shut_down();
  ASSERT_TRUE(turn_until([&] { return receive().find("C57P01") != std::string::npos; }));
  EXPECT_EQ(shared_.sessions.taken(), 0U);
}

TEST_F(ASession, RefusesAClientThatIsNotLoggedInIfItIsDrained) {
  accept(folder_.path(""));
  send(kStartupOfApp);
  ASSERT_TRUE(turn_until([&] { return server_.accept(); }));
  session_->drain();
  ASSERT_TRUE(turn_until([&] { return receive().find("C57P03") != std::string::npos; }));
  EXPECT_EQ(shared_.sessions.taken(), 0U);
}

TEST_F(ASession, RefusesAClientThatComesDuringADrain) {
  accept(folder_.path(""));
  shared_.draining = true;
  session_->drain();  // the client may want to cancel
  send(kStartupOfApp);
  ASSERT_TRUE(turn_until([&] { return receive().find("C57P03") != std::string::npos; }));
}

TEST_F(ASession, MakesRoomOnlyOnceItsClientIsSilentForASecond) {
  accept(folder_.path(""));
  for (int turns = 0; turns < 10; ++turns) uv_run(loop_.get(), UV_RUN_NOWAIT);
  EXPECT_FALSE(session_->may_make_room());
  ASSERT_TRUE(turn_until([&] { return session_->may_make_room(); }));
  session_->make_room();
  EXPECT_EQ(shared_.unauthenticated_clients.count(), 0U);
  ASSERT_TRUE(turn_until([&] { return closed_ == kId; }));
}

constexpr const char* kRevalidate = "[reload]\nsessions = \"revalidate\"\n";
const std::string kInTransaction("Z\0\0\0\x05T", 6);
const std::string kIdle("Z\0\0\0\x05I", 6);
const std::string kEmptyStatement("Q\0\0\0\x06;\0", 7);

class ARevalidatedSession : public ASession {
 protected:
  using Result = Session::Revalidation;

  void log_in(const std::string& more = kRevalidate) {
    accept(folder_.path(""), kId, more);
    send(kStartupOfApp);
    ASSERT_TRUE(turn_until([&] { return server_.accept(); }));
    server_.send(kLetIn);
    ASSERT_TRUE(turn_until([&] { return receive() == kLetIn; }));
  }
  // Returns a snapshot of the same listener with other rules.
  [[nodiscard]] std::shared_ptr<const Snapshot> with_rules(const std::string& hba) const {
    return test::snapshot_of("[[listener]]\naddress = \"127.0.0.1:0\"\nupstream = \"a\"\nhba = \"" + hba +
                             "\"\n[upstream.a]\nhost = \"" + folder_.path("") + "\"\n" + kRevalidate);
  }
  Result revalidate(const std::shared_ptr<const Snapshot>& snapshot) {
    ChainVerdicts verdicts;
    return session_->revalidate(*snapshot, verdicts);
  }

  std::shared_ptr<const Snapshot> good_ = with_rules("local all app relay");
  std::shared_ptr<const Snapshot> bad_ = with_rules("local all others relay");
};

TEST_F(ARevalidatedSession, GoesOnIfItWouldBeAdmitted) {
  log_in();
  EXPECT_EQ(revalidate(good_), Result::admitted);
  EXPECT_EQ(revalidate(snapshot_), Result::admitted);
  EXPECT_EQ(receive(), kLetIn);
}

TEST_F(ARevalidatedSession, EndsAtOnceIfItIsIdleAndWouldNotBeAdmitted) {
  log_in();
  EXPECT_EQ(revalidate(bad_), Result::ending);
  ASSERT_TRUE(turn_until([&] { return receive().find("no longer admitted") != std::string::npos; }));
  EXPECT_NE(received_.find("C57P01"), std::string::npos);
  EXPECT_EQ(shared_.sessions.taken(), 0U);
  EXPECT_EQ(revalidate(bad_), Result::not_due);
}

TEST_F(ARevalidatedSession, EndsAfterItsTransaction) {
  log_in();
  send(kEmptyStatement);
  std::string query;
  ASSERT_TRUE(turn_until(
      [&] { return (query += server_.received()) == kEmptyStatement || query.ends_with(kEmptyStatement); }));
  server_.send(kInTransaction);
  ASSERT_TRUE(turn_until([&] { return receive().ends_with(kInTransaction); }));
  EXPECT_EQ(revalidate(bad_), Result::ending);
  EXPECT_EQ(revalidate(good_), Result::not_due);  // it has lost its admission for good
  send(kEmptyStatement);
  query.clear();
  ASSERT_TRUE(turn_until([&] { return (query += server_.received()) == kEmptyStatement; }));
  EXPECT_TRUE(receive().ends_with(kInTransaction));
  server_.send(kIdle);
  ASSERT_TRUE(turn_until([&] { return receive().find("C57P01") != std::string::npos; }));
  EXPECT_LT(received_.find(kIdle, kLetIn.size()), received_.find("C57P01"));
}

TEST_F(ARevalidatedSession, GoesOnUncheckedIfItBeganUnderKeep) {
  log_in("");
  EXPECT_EQ(revalidate(bad_), Result::without_data);
  EXPECT_EQ(receive(), kLetIn);
}

TEST_F(ARevalidatedSession, IsCheckedAtTheEndOfItsLogin) {
  std::shared_ptr<const Snapshot> newest;
  services_.newest_snapshot = &newest;
  accept(folder_.path(""), kId, kRevalidate);
  newest = snapshot_;
  send(kStartupOfApp);
  ASSERT_TRUE(turn_until([&] { return server_.accept(); }));
  newest = with_rules("local all others relay");
  EXPECT_EQ(revalidate(newest), Result::not_due);
  server_.send(kLetIn);
  ASSERT_TRUE(turn_until([&] { return receive().find("C57P01") != std::string::npos; }));
  EXPECT_TRUE(received_.starts_with(kLetIn));
}

TEST_F(ARevalidatedSession, IsNotCheckedByAnOlderSnapshotThanItsOwn) {
  services_.newest_snapshot = &bad_;  // the worker does not have the snapshot of the listener yet
  log_in();
  EXPECT_EQ(receive(), kLetIn);
}

TEST_F(ARevalidatedSession, IsNotCheckedAtTheEndOfItsLoginUnderKeep) {
  std::shared_ptr<const Snapshot> newest = test::snapshot_of(
      "[[listener]]\naddress = \"127.0.0.1:1\"\nupstream = \"a\"\n[upstream.a]\nhost = \"/nonexistent\"\n");
  services_.newest_snapshot = &newest;
  log_in();
  EXPECT_EQ(receive(), kLetIn);
}

// For each allocation of the check and of the end that follows: it fails. Otherwise a certificate that is revoked could
// stay in use.
TEST_F(ARevalidatedSession, EndsIfThereIsNoMemoryForItsCheck) {
  int allocations = 0;
  for (bool has_failed = true; has_failed; ++allocations) {
    received_.clear();
    log_in();
    const test::FailingAllocation failing(allocations);
    EXPECT_EQ(revalidate(bad_), Result::ending) << allocations;
    has_failed = failing.has_failed();
    EXPECT_EQ(shared_.sessions.taken(), 0U) << allocations;
  }
  EXPECT_GT(allocations, 5);
}

// For each allocation of the end of an established session: it fails.
TEST_F(ASession, EndsOnceIfThereIsNoMemoryForItsEnd) {
  SessionId id = kId;
  for (bool has_failed = true; has_failed; ++id) {
    received_.clear();
    accept(folder_.path(""), id);
    send(kStartupOfApp);
    ASSERT_TRUE(turn_until([&] { return server_.accept(); }));
    server_.send(kLetIn);
    ASSERT_TRUE(turn_until([&] { return receive() == kLetIn; }));
    peer_ = Descriptor(-1);
    server_.close();
    const test::FailingAllocation failing(static_cast<int>(id - kId));
    ASSERT_TRUE(turn_until([&] { return closed_ == id; }));
    has_failed = failing.has_failed();
  }
  EXPECT_GT(id - kId, 5U);
  EXPECT_EQ(shared_.sessions.taken(), 0U);

  std::set<std::string> closed;
  for (const auto& line : log_.lines()) {
    if (line.find(" session_closed ") == std::string::npos) continue;
    const auto name = line.substr(line.find("session="), 20);
    EXPECT_TRUE(closed.insert(name).second) << line;
  }
  EXPECT_FALSE(closed.empty());
}

}  // namespace
}  // namespace pgveil::proxy
