#include "protocol/saslprep.h"

#include <gtest/gtest.h>

#include <string>

namespace pgveil::protocol {
namespace {

struct Password {
  const char* name;
  std::string_view given;
  std::string_view hashed;
};

class Saslprep : public testing::TestWithParam<Password> {};

TEST_P(Saslprep, IsWhatPostgresHashes) {
  EXPECT_EQ(saslprep(GetParam().given).view(), GetParam().hashed);
}

// The first rows are from PostgreSQL's src/test/authentication/t/002_saslprep.pl. In a password that is
// refused and must stay unchanged, a U+00AA would otherwise become an `a`.
// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Passwords, Saslprep,
    testing::Values(
        Password{"SoftHyphen", "I\xc2\xadX", "IX"},
        Password{"RomanNumeral", "\xe2\x85\xa8", "IX"},
        Password{"CaseStays", "ix", "ix"},
        Password{"OrdinalIndicator", "\xc2\xaa", "a"},
        Password{"AsciiControlCharacter", "foo\x07" "bar", "foo\x07" "bar"},
        Password{"DigitAndLettersAroundArabic", "foo\xd8\xa7" "1bar", "foo\xd8\xa7" "1bar"},
        Password{"Empty", "", ""},
        Password{"AsciiIsNotLookedAt", "a b\x7f", "a b\x7f"},
        Password{"NoBreakSpace", "a\xc2\xa0" "b", "a b"},
        Password{"ZeroWidthSpaceIsASpaceFirst", "a\xe2\x80\x8b" "b", "a b"},
        Password{"ByteOrderMark", "a\xef\xbb\xbf" "b", "ab"},
        Password{"NothingLeft", "\xc2\xad", "\xc2\xad"},
        Password{"Composed", "e\xcc\x81", "\xc3\xa9"},
        Password{"BeyondTheFirstPlane", "\xf0\x9d\x94\xb8", "A"},
        Password{"ControlCharacterBesideOthers", "\xc2\xaa\x07", "\xc2\xaa\x07"},
        Password{"PrivateUse", "\xc2\xaa\xee\x80\x80", "\xc2\xaa\xee\x80\x80"},
        Password{"UnassignedInUnicode32", "\xc2\xaa\xc8\xa1", "\xc2\xaa\xc8\xa1"},
        Password{"AssignedSince", "\xc2\xaa\xf0\x9f\x98\x80", "\xc2\xaa\xf0\x9f\x98\x80"},
        Password{"ByteThatBeginsNothing", "\xc2\xaa\xff", "\xc2\xaa\xff"},
        Password{"CutCharacter", "\xc2\xaa\xe2\x85", "\xc2\xaa\xe2\x85"},
        Password{"Overlong", "\xc2\xaa\xc0\xaf", "\xc2\xaa\xc0\xaf"},
        Password{"Surrogate", "\xc2\xaa\xed\xa0\x80", "\xc2\xaa\xed\xa0\x80"},
        Password{"BeyondUnicode", "\xc2\xaa\xf4\x90\x80\x80", "\xc2\xaa\xf4\x90\x80\x80"},
        Password{"ArabicAlone", "\xd8\xa7\xc2\xad\xd8\xa8", "\xd8\xa7\xd8\xa8"},
        Password{"ArabicFirstOnly", "\xd8\xa7\xc2\xad" "1", "\xd8\xa7\xc2\xad" "1"},
        Password{"ArabicLastOnly", "1\xc2\xad\xd8\xa7", "1\xc2\xad\xd8\xa7"},
        Password{"LatinBetweenArabic", "\xd8\xa7\xc2\xad" "a\xd8\xa7", "\xd8\xa7\xc2\xad" "a\xd8\xa7"},
        // Corrigendum 4: U+2F868, U+2F874, U+2F91F, U+2F95F and U+2F9BF.
        Password{"Corrigendum4", "\xf0\xaf\xa1\xa8\xf0\xaf\xa1\xb4\xf0\xaf\xa4\x9f\xf0\xaf\xa5\x9f\xf0\xaf\xa6\xbf",
                 "\xe3\x9b\xbc\xe5\xbd\x93\xf0\xa4\x8e\xab\xe7\xab\xae\xe4\x97\x97"},
        // Corrigendum 5: two characters with a mark between them are not composed.
        Password{"VowelSignAfterAMark", "\xe0\xa7\x87\xcc\x81\xe0\xa6\xbe", "\xe0\xa7\x87\xcc\x81\xe0\xa6\xbe"},
        Password{"VowelSign", "\xe0\xa7\x87\xe0\xa6\xbe", "\xe0\xa7\x8b"},
        Password{"HangulAroundAMark", "\xe1\x84\x80\xcc\x80\xe1\x85\xa1\xe1\x86\xa8", "\xe1\x84\x80\xcc\x80\xe1\x85\xa1\xe1\x86\xa8"},
        Password{"SyllableAroundTwoMarks", "\xea\xb0\x80\xcc\x81\xcd\x85\xe1\x86\xa8", "\xea\xb0\x80\xcc\x81\xcd\x85\xe1\x86\xa8"},
        Password{"HangulForCompatibilityAroundAMark", "\xe1\x84\x80\xcc\x80\xe3\x85\x8f", "\xe1\x84\x80\xcc\x80\xe1\x85\xa1"},
        Password{"HalfwidthHangulAroundAMark", "\xef\xbe\xa1\xcc\x80\xef\xbf\x82", "\xe1\x84\x80\xcc\x80\xe1\x85\xa1"},
        Password{"Hangul", "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "\xea\xb0\x81"},
        Password{"MarksOfTwoTexts", "e\xcc\x81\xcc\xa3\xe0\xa6\xbe\xcc\x81\xcc\xa3", "\xe1\xba\xb9\xcc\x81\xe0\xa6\xbe\xcc\xa3\xcc\x81"},
        // U+2121 has no direction. Its normalization, TEL, has one, but the check is done before the
        // normalization.
        Password{"LatinOutOfNormalization", "\xd8\xa7\xe2\x84\xa1\xd8\xa7", "\xd8\xa7TEL\xd8\xa7"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(SecretText, LeavesNothingWhereItMovedFrom) {
  SecretText one("secret");
  const SecretText other(std::move(one));
  EXPECT_EQ(other.view(), "secret");
  EXPECT_EQ(one.view(), "");  // NOLINT(bugprone-use-after-move)
}

TEST(SecretKey, WipesTheBytesThatItTakes) {
  std::array<std::uint8_t, SecretKey::kBytes> bytes;
  bytes.fill(7);
  const SecretKey key(std::move(bytes));
  EXPECT_EQ(key.view()[31], 7);
  EXPECT_EQ(bytes, (std::array<std::uint8_t, SecretKey::kBytes>{}));  // NOLINT(bugprone-use-after-move)
}

}  // namespace
}  // namespace pgveil::protocol
