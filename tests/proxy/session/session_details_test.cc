#include "proxy/session/session_details.h"

#include <gtest/gtest.h>

#include <string>

namespace pgveil::proxy {
namespace {

TEST(SessionDetails, AreUnpackedAsTheyWerePacked) {
  const SessionDetails details{.listener = "127.0.0.1:5432",
                               .client = "10.0.0.1:4711",
                               .identity = "CN=ann",
                               .user = "billing",
                               .database = "",
                               .rule = "/hba:7",
                               .upstream = "primary",
                               .server = "10.0.0.2:5432",
                               .client_tls = "",
                               .server_tls = "TLSv1.3"};
  const std::string packed = details.pack();
  EXPECT_EQ(packed.capacity(), packed.size());
  const SessionDetails unpacked = SessionDetails::unpack(packed);
  EXPECT_EQ(unpacked.listener, "127.0.0.1:5432");
  EXPECT_EQ(unpacked.database, "");
  EXPECT_EQ(unpacked.client_tls, "");
  EXPECT_EQ(unpacked.server_tls, "TLSv1.3");
}

TEST(SessionDetails, DoNotLeaveTheirPlaceBecauseOfANul) {
  SessionDetails details;
  details.identity = std::string("CN=a\0b", 6);
  details.server_tls = "TLSv1.3";
  const SessionDetails unpacked = SessionDetails::unpack(details.pack());
  EXPECT_EQ(unpacked.identity, "CN=a b");
  EXPECT_EQ(unpacked.user, "");
  EXPECT_EQ(unpacked.server_tls, "TLSv1.3");
}

TEST(SessionDetails, AreEmptyIfNothingWasPacked) {
  EXPECT_EQ(SessionDetails::unpack("").client, "");
}

}  // namespace
}  // namespace pgveil::proxy
