#include "proxy/access/client_host_name.h"

#include <new>

#include "tests/proxy/base/lookups.h"

namespace pgveil::proxy {
namespace {

TEST_F(Lookups, OfAClientWithoutMemoryFindNoName) {
  server_.pointers["7.0.0.10.in-addr.arpa"] = "db.example.test";
  server_.addresses["db.example.test"] = "10.0.0.7";
  const auto client = *kernel_address(SocketAddress{"10.0.0.7", 5432, ""});
  auto& asked = resolver("options timeout:1 attempts:1");
  int unknown = 0;
  bool has_failed = true;
  for (int allocations = 0; has_failed; ++allocations) {
    Waiter waiter;
    std::optional<ClientHostName> name;
    const test::FailingAllocation failing(allocations);
    try {
      name.emplace(asked, client, waiter);
    } catch (const std::bad_alloc&) {
      name.reset();
    }
    while (name && !name->found()) turn();
    has_failed = failing.has_failed();
    if (name && name->found()->empty()) ++unknown;
    if (!has_failed) {
      EXPECT_EQ(name->found(), "db.example.test");
    }
  }
  EXPECT_GT(unknown, 0);
}

}  // namespace
}  // namespace pgveil::proxy
