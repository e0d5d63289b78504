#include "proxy/doctor/responder.h"

#include <gtest/gtest.h>

#include <set>

#include "proxy/doctor/login_reply.h"

namespace pgveil::proxy {
namespace {

LoginReply refused(const std::string& sqlstate, const std::string& message) {
  LoginReply reply;
  reply.refusal = protocol::ErrorFields{
      .severity = "FATAL", .sqlstate = sqlstate, .message = message, .detail = {}, .hint = {}};
  return reply;
}

TEST(AResponder, IsKnownByItsAnswerToALoginWithoutAUser) {
  EXPECT_EQ(responder_of(refused("28000", "no PostgreSQL user name specified in startup packet")),
            Responder::postgresql);
  EXPECT_EQ(responder_of(refused("28000", "kein PostgreSQL-Benutzername")), Responder::postgresql);
  EXPECT_EQ(responder_of(refused("08P01", "no username supplied")), Responder::pgbouncer);
  EXPECT_EQ(responder_of(refused("08P01", "SSL required")), Responder::pgbouncer);
  EXPECT_EQ(responder_of(refused("28000", "pgveil: no user")), Responder::pgveil);
}

TEST(AResponder, IsNotKnownByAnotherAnswer) {
  EXPECT_FALSE(responder_of(LoginReply{}));
  EXPECT_FALSE(responder_of(refused("53300", "too many clients")));
}

TEST(AResponder, HasAWordAndADescriptionOfItsOwn) {
  std::set<std::string_view> words, descriptions;
  constexpr int kCount = static_cast<int>(Responder::silent) + 1;
  for (int i = 0; i < kCount; ++i) {
    words.insert(name_of(static_cast<Responder>(i)));
    descriptions.insert(describe(static_cast<Responder>(i)));
  }
  EXPECT_EQ(words.size(), std::size_t{kCount});
  EXPECT_EQ(descriptions.size(), std::size_t{kCount});
}

}  // namespace
}  // namespace pgveil::proxy
