#include "proxy/commands/certificate_names.h"

#include <gtest/gtest.h>

#include <string>

namespace pgveil::proxy {
namespace {

std::string error_of(const ReadName& name) {
  return name ? "" : name.error().message + " | " + name.error().hint;
}

TEST(CertificateNames, OfHostsAreInLowerCase) {
  EXPECT_EQ(read_certificate_host("DB01.Example.com"), "db01.example.com");
  EXPECT_EQ(read_certificate_host("*.Example.com"), "*.example.com");
  EXPECT_EQ(read_certificate_host("my_db"), "my_db");
  EXPECT_EQ(read_certificate_host(std::string(63, 'a') + ".example"), std::string(63, 'a') + ".example");
}

TEST(CertificateNames, OfHostsAreRefusedIfNoClientCanUseThem) {
  for (const std::string host :
       {"", ".", "a..b", "-a", "a-", "a b", "a,b", "a/b", "db01:5432", "256.1.1.1", "a\n", "unix:/run"})
    EXPECT_PRED_FORMAT2(testing::IsSubstring, "it is not a host name | Write one name",
                        error_of(read_certificate_host(host)));
  EXPECT_FALSE(read_certificate_host(std::string(64, 'a')));
  std::string longest;
  for (int i = 0; i < 127; ++i) longest += "a.";
  EXPECT_FALSE(read_certificate_host(longest + 'a'));
  EXPECT_TRUE(read_certificate_host(longest.substr(2) + 'a').has_value());
}

TEST(CertificateNames, OfHostsAreRefusedWithWhatToWriteInstead) {
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "it is an address | Use --ip 192.0.2.1.",
                      error_of(read_certificate_host("192.0.2.1")));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "Use --ip ::1.", error_of(read_certificate_host("::1")));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "it is not ASCII | Write the ASCII form",
                      error_of(read_certificate_host("bücher.example")));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "it ends with a dot | Leave out the dot",
                      error_of(read_certificate_host("db01.example.com.")));
  for (const char* host : {"*", "a.*.com", "db*.example.com", "*.*.com", "**.com"})
    EXPECT_PRED_FORMAT2(testing::IsSubstring, "a wildcard in the wrong place",
                        error_of(read_certificate_host(host)));
}

TEST(CertificateNames, OfAddressesAreTheirBytes) {
  EXPECT_EQ(read_certificate_address("192.0.2.1"), std::string("\xc0\x00\x02\x01", 4));
  EXPECT_EQ(read_certificate_address("::1"), std::string(15, '\0') + '\1');
  for (const char* text :
       {"", "localhost", "192.0.2", "192.0.2.1:5432", "[::1]", "fe80::1%eth0", "192.0.2.0/24"})
    EXPECT_PRED_FORMAT2(testing::IsSubstring, "it is neither IPv4 nor IPv6",
                        error_of(read_certificate_address(text)));
}

TEST(CertificateNames, OfWorkloadsFollowTheSpecificationOfSpiffe) {
  for (const char* id :
       {"spiffe://prod/app", "spiffe://prod.example.com/ns/ledger/sa/billing", "spiffe://a_b-1/A.b-c_d"})
    EXPECT_EQ(read_spiffe_id(id), id);
  for (const std::string id :
       {"", "https://prod/app", "SPIFFE://prod/app", "spiffe://", "spiffe://prod", "spiffe://prod/",
        "spiffe:///app", "spiffe://Prod/app", "spiffe://prod:80/app", "spiffe://user@prod/app",
        "spiffe://prod/a//b", "spiffe://prod/a/", "spiffe://prod/.", "spiffe://prod/../a",
        "spiffe://prod/a?b", "spiffe://prod/a#b", "spiffe://prod/%41", "spiffe://prod/a b"})
    EXPECT_PRED_FORMAT2(testing::IsSubstring, "invalid SPIFFE ID", error_of(read_spiffe_id(id)));
  EXPECT_FALSE(read_spiffe_id("spiffe://" + std::string(256, 'a') + "/b"));
  EXPECT_FALSE(read_spiffe_id("spiffe://a/" + std::string(2048, 'b')));
}

TEST(CertificateNames, OfPeopleAreEmailAddresses) {
  for (const char* address : {"a@b", "first.last+tag@example.com", "o'brien@example.com"})
    EXPECT_EQ(read_email(address), address);
  for (const char* address :
       {"", "a", "@b", "a@", "a b@c", "a@b@c", "<a@b>", "a@b.", "bj\xc3\xb6rn@example.com", "a,b@c", "a@-b"})
    EXPECT_PRED_FORMAT2(testing::IsSubstring, "it is not of the form NAME@HOST",
                        error_of(read_email(address)));
}

TEST(CertificateNames, OfUsersHaveTheLengthThatPostgresAllows) {
  EXPECT_EQ(read_database_user("billing"), "billing");
  EXPECT_EQ(read_database_user("Björn O'Brien"), "Björn O'Brien");
  EXPECT_TRUE(read_database_user(std::string(63, 'a')).has_value());
  EXPECT_PRED_FORMAT2(testing::IsSubstring,
                      "it has 64 bytes | PostgreSQL cuts the name of a user to 63 bytes.",
                      error_of(read_database_user(std::string(64, 'a'))));
  EXPECT_PRED_FORMAT2(testing::IsSubstring,
                      "it has 65 characters | The common name of a certificate has 64 at most.",
                      error_of(read_database_user(std::string(65, 'a'))));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "it is empty", error_of(read_database_user("")));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "it contains a control character",
                      error_of(read_database_user("a\tb")));
}

TEST(CertificateNames, AreUtf8) {
  for (const char* text : {"\x80", "\xc3", "\xc3(", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80",
                           "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xff"})
    EXPECT_PRED_FORMAT2(testing::IsSubstring, "it is not UTF-8", error_of(read_authority_name(text)));
  EXPECT_TRUE(read_authority_name("\xf0\x9f\x90\x98").has_value());
  std::string name;
  for (int i = 0; i < 64; ++i) name += "ö";
  EXPECT_EQ(read_authority_name(name), name);
  EXPECT_FALSE(read_authority_name(name + "ö"));
}

}  // namespace
}  // namespace pgveil::proxy
