#include "proxy/resolver.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <stdexcept>

#include "proxy/client_name.h"
#include "proxy/descriptor.h"
#include "tests/proxy/failing_memory.h"
#include "tests/support/certificates.h"

namespace pgveil::proxy {
namespace {

constexpr std::uint16_t kTypeA = 1;
constexpr std::uint16_t kTypePtr = 12;

// A name server on a port of 127.0.0.1, served by the loop of the test.
class NameServer {
 public:
  explicit NameServer(uv_loop_t* loop) : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(socket_.get(), any, size) != 0 || ::getsockname(socket_.get(), any, &size) != 0)
      throw std::runtime_error("no socket for the name server");
    port = ntohs(address.sin_port);
    poll_.reset(new uv_poll_t);
    uv_poll_init(loop, poll_.get(), socket_.get());
    poll_->data = this;
    uv_poll_start(poll_.get(), UV_READABLE, [](uv_poll_t* poll, int /*status*/, int /*events*/) {
      static_cast<NameServer*>(poll->data)->answer();
    });
    uv_unref(reinterpret_cast<uv_handle_t*>(poll_.get()));
  }

  std::uint16_t port = 0;
  std::map<std::string, std::string> addresses;  // IPv4, of names
  std::map<std::string, std::string> pointers;   // names, of names such as 7.0.0.10.in-addr.arpa
  std::map<std::string, int> lost;               // how many questions for a name are not answered; -1: all
  std::map<std::string, int> questions;          // how many have come for a name
  std::function<void()> on_question;

 private:
  void answer() {
    const test::SafeAllocations safe;
    std::array<std::uint8_t, 512> packet{};
    sockaddr_in from{};
    socklen_t from_size = sizeof from;
    auto* const any = reinterpret_cast<sockaddr*>(&from);
    const ssize_t received = ::recvfrom(socket_.get(), packet.data(), packet.size(), 0, any, &from_size);
    if (received < 12) return;
    std::size_t at = 12;
    std::string name;
    while (packet.at(at) != 0) {
      if (!name.empty()) name += '.';
      const std::size_t length = packet.at(at++);
      for (std::size_t i = 0; i < length; ++i) name += static_cast<char>(packet.at(at++));
    }
    const auto type = static_cast<std::uint16_t>(packet.at(at + 1) << 8U | packet.at(at + 2));
    at += 5;
    ++questions[name];
    if (on_question) on_question();
    if (auto& rest = lost[name]; rest != 0) {
      if (rest > 0) --rest;
      return;
    }
    std::vector<std::uint8_t> reply(packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(at));
    std::vector<std::uint8_t> data;
    bool is_known = false;
    if (const auto found = addresses.find(name); found != addresses.end()) {
      is_known = true;
      if (type == kTypeA) {
        data.resize(4);
        ::inet_pton(AF_INET, found->second.c_str(), data.data());
      }
    }
    if (const auto found = pointers.find(name); found != pointers.end()) {
      is_known = true;
      if (type == kTypePtr) {
        std::istringstream labels(found->second);
        for (std::string label; std::getline(labels, label, '.');) {
          data.push_back(static_cast<std::uint8_t>(label.size()));
          data.insert(data.end(), label.begin(), label.end());
        }
        data.push_back(0);
      }
    }
    reply[2] = 0x81;
    reply[3] = is_known ? 0x80 : 0x83;  // NXDOMAIN
    reply[7] = data.empty() ? 0 : 1;
    reply[8] = reply[9] = reply[10] = reply[11] = 0;
    if (!data.empty()) {
      const auto low = [](std::size_t value) { return static_cast<std::uint8_t>(value); };
      const std::array<std::uint8_t, 12> head{0xc0, 0x0c, 0, low(type), 0, 1,
                                              0,    0,    0, 60,        0, low(data.size())};
      reply.insert(reply.end(), head.begin(), head.end());
      reply.insert(reply.end(), data.begin(), data.end());
    }
    ::sendto(socket_.get(), reply.data(), reply.size(), 0, any, from_size);
  }

  Descriptor socket_;
  Handle<uv_poll_t> poll_;
};

struct Waiter final : Wakeable {
  void wake() override {
    ++times;
    if (then) then();
  }
  int times = 0;
  std::function<void()> then;
};

class Lookups : public testing::Test {
 protected:
  Resolver& resolver(const std::string& options = "") {
    resolver_.emplace(loop_.get(), Resolver::Settings{.resolv_conf = folder_.write(
                                                          "resolv.conf", "nameserver 127.0.0.1\n" + options),
                                                      .port = server_.port});
    return *resolver_;
  }
  // Until nothing is under way.
  void run() { uv_run(loop_.get(), UV_RUN_DEFAULT); }
  void turn() { uv_run(loop_.get(), UV_RUN_ONCE); }

  Loop loop_;
  test::TemporaryFolder folder_;
  NameServer server_{loop_.get()};
  std::optional<Resolver> resolver_;
  Waiter waiter_;
};

std::vector<std::string> texts(const std::optional<Resolver::Answer>& answer) {
  std::vector<std::string> all;
  if (answer)
    for (const auto& address : answer->addresses) all.push_back(address.text());
  return all;
}

std::vector<std::string> texts_of_getaddrinfo(const std::string& name) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  std::vector<std::string> all;
  if (::getaddrinfo(name.c_str(), nullptr, &hints, &found) != 0) return all;
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next)
    all.push_back(kernel_address(info->ai_addr, info->ai_addrlen).text());
  ::freeaddrinfo(found);
  return all;
}

TEST_F(Lookups, FindLocalhostAtOnceAndAskNobody) {
  const auto request = resolver().addresses_of("localhost", waiter_);
  ASSERT_TRUE(request->answer());
  ASSERT_FALSE(request->answer()->addresses.empty());
  for (const auto& address : request->answer()->addresses) EXPECT_TRUE(address.is_loopback());
  EXPECT_TRUE(server_.questions.empty());
}

TEST_F(Lookups, FindInTheHostsFileWhatGetaddrinfoFindsThere) {
  std::ifstream hosts("/etc/hosts");
  for (std::string line; std::getline(hosts, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string name;
    words >> name;  // the address
    while (words >> name) {
      if (name == "localhost") continue;  // newer versions of c-ares add ::1
      const auto request = resolver().addresses_of(name, waiter_);
      EXPECT_EQ(texts(request->answer()), texts_of_getaddrinfo(name)) << name;
    }
  }
}

TEST_F(Lookups, FindANameOfDns) {
  server_.addresses["db.example.test"] = "10.0.0.7";
  const auto request = resolver().addresses_of("db.example.test", waiter_);
  EXPECT_FALSE(request->answer());
  run();
  EXPECT_EQ(texts(request->answer()), std::vector<std::string>{"10.0.0.7:0"});
  EXPECT_EQ(waiter_.times, 1);
}

TEST_F(Lookups, FindANameInASearchDomain) {
  server_.addresses["db.second.test"] = "10.0.0.7";
  const auto request = resolver("search first.test second.test\n").addresses_of("db", waiter_);
  run();
  EXPECT_EQ(texts(request->answer()), std::vector<std::string>{"10.0.0.7:0"});
}

TEST_F(Lookups, SayWhyNothingWasFound) {
  const auto request = resolver().addresses_of("nobody.example.test", waiter_);
  run();
  ASSERT_TRUE(request->answer());
  EXPECT_TRUE(request->answer()->addresses.empty());
  EXPECT_FALSE(request->answer()->error.empty());
}

TEST_F(Lookups, OfASilentZoneDelayNoOther) {
  server_.lost["silent.test"] = -1;
  server_.addresses["db.example.test"] = "10.0.0.7";
  std::vector<std::unique_ptr<Resolver::Request>> silent;
  resolver();
  silent.reserve(20);
  for (int i = 0; i < 20; ++i) silent.push_back(resolver_->addresses_of("silent.test", waiter_));
  const auto request = resolver_->addresses_of("db.example.test", waiter_);
  while (!request->answer()) turn();
  EXPECT_EQ(texts(request->answer()), std::vector<std::string>{"10.0.0.7:0"});
  EXPECT_FALSE(silent.front()->answer());
}

TEST_F(Lookups, OfEqualNamesAreMadeOnceAtATime) {
  server_.addresses["db.example.test"] = "10.0.0.7";
  std::vector<std::unique_ptr<Resolver::Request>> requests;
  resolver();
  requests.reserve(20);
  for (int i = 0; i < 20; ++i) requests.push_back(resolver_->addresses_of("db.example.test", waiter_));
  run();
  EXPECT_EQ(server_.questions["db.example.test"], 2);  // A and AAAA
  EXPECT_EQ(waiter_.times, 20);
  for (const auto& request : requests)
    EXPECT_EQ(texts(request->answer()), std::vector<std::string>{"10.0.0.7:0"});
}

TEST_F(Lookups, AreMadeAnewOnceTheAnswerHasCome) {
  server_.addresses["db.example.test"] = "10.0.0.7";
  const auto first = resolver().addresses_of("db.example.test", waiter_);
  run();
  server_.addresses["db.example.test"] = "10.0.0.8";
  const auto second = resolver_->addresses_of("db.example.test", waiter_);
  run();
  EXPECT_EQ(texts(first->answer()), std::vector<std::string>{"10.0.0.7:0"});
  EXPECT_EQ(texts(second->answer()), std::vector<std::string>{"10.0.0.8:0"});
}

TEST_F(Lookups, SeeAChangedResolvConf) {
  server_.addresses["db.example.test"] = "10.0.0.7";
  resolver();
  folder_.write("resolv.conf", "nameserver 127.0.0.1\nsearch example.test\n");
  const auto request = resolver_->addresses_of("db", waiter_);
  run();
  EXPECT_EQ(texts(request->answer()), std::vector<std::string>{"10.0.0.7:0"});
}

TEST_F(Lookups, EndWhenNobodyWaitsForThem) {
  server_.lost["silent.test"] = -1;
  auto first = resolver().addresses_of("silent.test", waiter_);
  auto second = resolver_->addresses_of("silent.test", waiter_);
  auto reverse = resolver_->name_of(*kernel_address(SocketAddress{"10.0.0.7", 0, ""}), waiter_);
  first.reset();
  EXPECT_TRUE(uv_loop_alive(loop_.get()));
  second.reset();
  reverse.reset();
  run();  // returns at once, for nothing is left
  EXPECT_EQ(waiter_.times, 0);
}

TEST_F(Lookups, AskAgainAfterALostPacket) {
  server_.lost["db.example.test"] = 2;
  server_.addresses["db.example.test"] = "10.0.0.7";
  const auto request = resolver("options timeout:1 attempts:2\n").addresses_of("db.example.test", waiter_);
  run();
  EXPECT_EQ(texts(request->answer()), std::vector<std::string>{"10.0.0.7:0"});
}

TEST_F(Lookups, ThatWereAskedForLateDoNotFailWithTheEarlierOnes) {
  server_.lost["db.example.test"] = 2;
  server_.addresses["db.example.test"] = "10.0.0.7";
  std::unique_ptr<Resolver::Request> late;
  Waiter late_waiter;
  const auto early = resolver("options timeout:1 attempts:1\n").addresses_of("db.example.test", waiter_);
  server_.on_question = [&] {
    if (!late) late = resolver_->addresses_of("db.example.test", late_waiter);
  };
  run();
  EXPECT_FALSE(early->answer()->error.empty());
  EXPECT_EQ(texts(late->answer()), std::vector<std::string>{"10.0.0.7:0"});
}

TEST_F(Lookups, MayBeLetGoByWhoeverIsWoken) {
  server_.addresses["db.example.test"] = "10.0.0.7";
  std::vector<std::unique_ptr<Resolver::Request>> requests;
  resolver();
  requests.reserve(3);
  for (int i = 0; i < 3; ++i) requests.push_back(resolver_->addresses_of("db.example.test", waiter_));
  std::unique_ptr<Resolver::Request> next;
  Waiter other;
  waiter_.then = [&] {
    requests.clear();
    next = resolver_->addresses_of("db.example.test", other);
  };
  run();
  EXPECT_EQ(waiter_.times, 1);
  EXPECT_EQ(texts(next->answer()), std::vector<std::string>{"10.0.0.7:0"});
}

// Whichever allocation of ours fails once: it is thrown to the caller who asks, or the waiter gets an error,
// or the look-up goes on; and the next one works. (c-ares allocates with malloc(), which does not fail here.)
TEST_F(Lookups, WithoutMemoryEndWithAnErrorAndTheNextOneWorks) {
  server_.addresses["db.example.test"] = "10.0.0.7";
  auto& asked = resolver("options timeout:1 attempts:1");
  bool has_failed = true;
  for (int allocations = 0; has_failed; ++allocations) {
    Waiter waiter;
    std::unique_ptr<Resolver::Request> request;
    {
      const test::FailingAllocation failing(allocations);
      try {
        request = asked.addresses_of("db.example.test", waiter);
      } catch (const std::bad_alloc&) {
        request = nullptr;
      }
      while (request && !request->answer()) turn();
      has_failed = test::FailingAllocation::has_failed();
    }
    if (request && request->answer()->addresses.empty()) {
      EXPECT_EQ(request->answer()->error, "Out of memory");
    }
    request = asked.addresses_of("db.example.test", waiter);
    run();
    ASSERT_EQ(texts(request->answer()), std::vector<std::string>{"10.0.0.7:0"}) << "after " << allocations;
  }
}

TEST_F(Lookups, OfAClientWithoutMemoryFindNoName) {
  server_.pointers["7.0.0.10.in-addr.arpa"] = "db.example.test";
  server_.addresses["db.example.test"] = "10.0.0.7";
  const auto client = *kernel_address(SocketAddress{"10.0.0.7", 5432, ""});
  auto& asked = resolver("options timeout:1 attempts:1");
  int unknown = 0;
  bool has_failed = true;
  for (int allocations = 0; has_failed; ++allocations) {
    Waiter waiter;
    std::optional<ClientName> name;
    const test::FailingAllocation failing(allocations);
    try {
      name.emplace(asked, client, waiter);
    } catch (const std::bad_alloc&) {
      name.reset();
    }
    while (name && !name->found()) turn();
    has_failed = test::FailingAllocation::has_failed();
    if (name && name->found()->empty()) ++unknown;
    if (!has_failed) {
      EXPECT_EQ(name->found(), "db.example.test");
    }
  }
  EXPECT_GT(unknown, 0);
}

TEST_F(Lookups, FindTheNameOfAnAddress) {
  server_.pointers["7.0.0.10.in-addr.arpa"] = "client.example.test";
  const auto address = kernel_address(SocketAddress{"10.0.0.7", 4711, ""});
  const auto known = resolver().name_of(*address, waiter_);
  const auto unknown = resolver_->name_of(*kernel_address(SocketAddress{"10.0.0.8", 0, ""}), waiter_);
  run();
  ASSERT_TRUE(known->answer() && unknown->answer());
  EXPECT_EQ(known->answer()->name, "client.example.test");
  EXPECT_EQ(unknown->answer()->name, "");
}

struct PatienceCase {
  std::string file;
  std::string variable;
  int seconds;
  int attempts;
};

class Patience : public testing::TestWithParam<PatienceCase> {};

TEST_P(Patience, IsThatOfTheOptions) {
  const auto patience = lookup_patience(GetParam().file, GetParam().variable);
  EXPECT_EQ(patience.timeout, std::chrono::seconds(GetParam().seconds));
  EXPECT_EQ(patience.attempts, GetParam().attempts);
}

INSTANTIATE_TEST_SUITE_P(ResolvConf, Patience,
                         testing::Values(PatienceCase{"", "", 2, 3},
                                         PatienceCase{"nameserver 10.0.0.1\noptions timeout:5\n", "", 5, 3},
                                         PatienceCase{"options ndots:2 attempts:1", "", 2, 1},
                                         PatienceCase{"options\ttimeout:1  attempts:2\r\n", "", 1, 2},
                                         PatienceCase{"# options timeout:5\n", "", 2, 3},
                                         PatienceCase{"options timeout:5\n", "timeout:7 attempts:4", 7, 4},
                                         PatienceCase{"options timeout:0 attempts:0\n", "", 1, 1},
                                         PatienceCase{"options timeout:100 attempts:100\n", "", 30, 5},
                                         PatienceCase{"options timeout:x attempts:\n", "", 2, 3}));

}  // namespace
}  // namespace pgveil::proxy
