#include "tls/digest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace pgveil::tls {
namespace {

TEST(RandomBytes, AreOthersEachTime) {
  std::array<std::uint8_t, 32> one{};
  std::array<std::uint8_t, 32> other{};
  fill_random(one);
  fill_random(other);
  EXPECT_NE(one, other);
}

TEST(Wiping, OverwritesBytes) {
  std::array<std::uint8_t, 8> secret{1, 2, 3, 4, 5, 6, 7, 8};
  wipe(secret);
  EXPECT_TRUE(std::all_of(secret.begin(), secret.end(), [](auto byte) { return byte == 0; }));
}

TEST(Wiping, OverwritesAStringBeforeItIsEmptied) {
  std::string secret(100, 'x');  // too long for the memory inside the string object
  const char* place = secret.data();
  wipe(secret);
  EXPECT_EQ(secret, "");
  EXPECT_EQ(std::count(place, place + 100, 'x'), 0);  // clear() does not free memory
}

std::span<const std::uint8_t> bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// FIPS 180-2, appendix B.1.
TEST(Sha256, IsThatOfTheStandard) {
  EXPECT_EQ(hexadecimal(sha256(bytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hexadecimal(sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

// RFC 4231, test case 2.
TEST(HmacSha256, IsThatOfTheStandard) {
  EXPECT_EQ(hexadecimal(hmac_sha256(bytes("Jefe"), bytes("what do ya want for nothing?"))),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(HmacSha256, TakesAnEmptyKeyAndText) {
  EXPECT_EQ(hexadecimal(hmac_sha256({}, {})),
            "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

// RFC 7914, section 11, the first 32 bytes, which SCRAM uses.
TEST(Pbkdf2HmacSha256, IsThatOfTheStandard) {
  EXPECT_EQ(hexadecimal(pbkdf2_hmac_sha256("passwd", bytes("salt"), 1)),
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
  EXPECT_EQ(hexadecimal(pbkdf2_hmac_sha256("Password", bytes("NaCl"), 80'000)),
            "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56");
}

// RFC 1321, appendix A.5.
TEST(Md5, IsThatOfTheStandard) {
  EXPECT_EQ(md5_hex(bytes("message digest")), "f96b697d7cb7938d525a2f31aaf161d0");
}

// The result of two calls of pg_md5_encrypt(), computed with another implementation.
TEST(Md5, AnswersAServerOverPasswordUserAndSalt) {
  EXPECT_EQ(md5_password("ann", "secret", bytes("\x01\x02\x03\x04")), "md59009ce60b9ca97f1e752376843d1309e");
}

TEST(ConstantTimeComparison, FindsEveryDifference) {
  const Sha256 one = sha256(bytes("abc"));
  EXPECT_TRUE(equal_in_constant_time(one, one));
  EXPECT_TRUE(equal_in_constant_time({}, {}));
  for (std::size_t place = 0; place < one.size(); ++place) {
    Sha256 other = one;
    other[place] ^= 0x80;
    EXPECT_FALSE(equal_in_constant_time(one, other)) << place;
  }
  EXPECT_FALSE(equal_in_constant_time(one, std::span(one).first(31)));
}

}  // namespace
}  // namespace pgveil::tls
