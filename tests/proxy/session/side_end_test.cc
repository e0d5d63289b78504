// The reason of an end in the log.
#include "proxy/session/side_end.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>

namespace pgveil::proxy {
namespace {

using CloseNotify = Stream::CloseNotify;

constexpr SideEnd kRegular{.was_announced = true, .close_notify = CloseNotify::received};
constexpr SideEnd kCut{.close_notify = CloseNotify::missing};
constexpr SideEnd kInMessage{.in_message = true, .close_notify = CloseNotify::missing};

std::string entry(const Ending& ending) {
  return std::string(describe(ending.reason).name) + ' ' + ending.detail;
}

TEST(TheEndOfAServer, IsRegularAfterItsErrorAndCloseNotify) {
  EXPECT_EQ(entry(closed_by_server(kRegular)), "server_closed ");
}

TEST(TheEndOfAServer, IsUnexpectedWithoutCloseNotifyWhateverCameBefore) {
  EXPECT_EQ(closed_by_server(kCut).reason, Reason::server_closed_unexpectedly);
  EXPECT_EQ(closed_by_server({.was_announced = true, .close_notify = CloseNotify::missing}).reason,
            Reason::server_closed_unexpectedly);
}

TEST(TheEndOfAServer, IsUnexpectedWithoutTlsWhereNoErrorCame) {
  EXPECT_EQ(closed_by_server({}).reason, Reason::server_closed_unexpectedly);
  EXPECT_EQ(closed_by_server({.was_announced = true}).reason, Reason::server_closed);
}

TEST(TheEndOfAServer, SaysWhereItIsInsideAMessage) {
  EXPECT_EQ(closed_by_server(kInMessage).reason, Reason::server_closed_in_message);
  EXPECT_EQ(closed_by_server({.in_message = true}).reason, Reason::server_closed_in_message);
}

TEST(TheEndOfAClient, IsRegularAfterTerminate) {
  EXPECT_EQ(entry(closed_by_client(kRegular)), "client_closed ");
  EXPECT_EQ(entry(closed_by_client({.was_announced = true, .close_notify = CloseNotify::missing})),
            "client_closed ");
}

TEST(TheEndOfAClient, IsToldApartWithoutTerminate) {
  EXPECT_EQ(closed_by_client(kCut).reason, Reason::client_closed_unexpectedly);
  EXPECT_EQ(closed_by_client(kInMessage).reason, Reason::client_closed_in_message);
  EXPECT_EQ(entry(closed_by_client({})), "client_closed The client sent no Terminate message.");
}

TEST(TheEndOfAClient, NeedsNoTerminateInTheLogin) {
  EXPECT_EQ(entry(closed_by_client_in_login({.close_notify = CloseNotify::received})), "client_closed ");
  EXPECT_EQ(entry(closed_by_client_in_login({})), "client_closed ");
  EXPECT_EQ(closed_by_client_in_login(kInMessage).reason, Reason::client_closed_in_message);
}

}  // namespace
}  // namespace pgveil::proxy
