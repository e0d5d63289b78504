#include "protocol/frontend.h"

#include <gtest/gtest.h>

#include "tests/support/wire.h"

namespace pgveil::protocol {
namespace {

using test::operator""_wire;

TEST(Terminate, IsAHeaderAlone) {
  Bytes out;
  encode_terminate(out);
  EXPECT_EQ(out, "'X' 00000004"_wire);
}

}  // namespace
}  // namespace pgveil::protocol
