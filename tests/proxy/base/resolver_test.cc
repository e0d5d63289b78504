#include "proxy/base/resolver.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <sys/socket.h>

#include <fstream>

#include "tests/proxy/base/lookups.h"

namespace pgveil::proxy {
namespace {

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
    if (line.find("localhost") != std::string::npos) continue;  // newer versions of c-ares add addresses
    std::istringstream words(line.substr(0, line.find('#')));
    std::string name;
    words >> name;  // skips the address
    while (words >> name) {
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
  run();  // returns at once, because no look-up is left
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

// Each allocation of pgveil fails once. Then the request throws, or the waiter gets an error, or the look-up
// continues, and the next look-up works. (c-ares allocates with malloc(), which does not fail here.)
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
      has_failed = failing.has_failed();
    }
    if (request && request->answer()->addresses.empty()) {
      EXPECT_EQ(request->answer()->error, "Out of memory");
    }
    request = asked.addresses_of("db.example.test", waiter);
    run();
    ASSERT_EQ(texts(request->answer()), std::vector<std::string>{"10.0.0.7:0"}) << "after " << allocations;
  }
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

TEST_F(Lookups, AskForTheNameOfAnAddressAgainAfterALostPacket) {
  server_.lost["7.0.0.10.in-addr.arpa"] = 1;
  server_.pointers["7.0.0.10.in-addr.arpa"] = "client.example.test";
  const auto request = resolver("options timeout:1 attempts:2\n")
                           .name_of(*kernel_address(SocketAddress{"10.0.0.7", 0, ""}), waiter_);
  run();
  ASSERT_TRUE(request->answer());
  EXPECT_EQ(request->answer()->name, "client.example.test");
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
