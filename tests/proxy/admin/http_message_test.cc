#include "proxy/admin/http_message.h"

#include <gtest/gtest.h>

#include <string>

namespace pgveil::proxy {
namespace {

using State = HttpRequestReader::State;

constexpr std::string_view kRequest =
    "GET /readyz?upstream=1&x HTTP/1.1\r\nHost: a\r\naccept: text/html\r\nOrigin: http://b\r\n\r\n";

TEST(HttpRequestReader, ReadsARequestByteByByte) {
  HttpRequestReader reader;
  for (const char byte : kRequest.substr(0, kRequest.size() - 1))
    ASSERT_EQ(reader.add({&byte, 1}), State::incomplete);
  ASSERT_EQ(reader.add("\n"), State::complete);
  const HttpRequest request = reader.release();
  EXPECT_EQ(request.method, "GET");
  EXPECT_EQ(request.path, "/readyz");
  EXPECT_EQ(request.query, "upstream=1&x");
  EXPECT_EQ(query_value(request, "upstream"), "1");
  EXPECT_EQ(query_value(request, "x"), "");
  EXPECT_EQ(query_value(request, "up"), std::nullopt);
  EXPECT_EQ(request.host, "a");
  EXPECT_EQ(request.accept, "text/html");
  EXPECT_EQ(request.origin, "http://b");
  EXPECT_EQ(request.sec_fetch_site, "");
}

TEST(HttpRequestReader, ReadsTheBodyOfARequest) {
  HttpRequestReader reader;
  EXPECT_EQ(reader.add("POST /reload HTTP/1.1\r\nContent-Length: 2\r\n\r\na"), State::incomplete);
  EXPECT_EQ(reader.add("b"), State::complete);
  EXPECT_EQ(reader.release().path, "/reload");
}

TEST(HttpRequestReader, IgnoresWhatFollowsTheRequest) {
  HttpRequestReader reader;
  EXPECT_EQ(reader.add(std::string(kRequest) + "GET / HTTP/1.1\r\n"), State::complete);
  EXPECT_FALSE(reader.release().keeps_open);
  EXPECT_EQ(reader.add(kRequest), State::complete) << "the next one begins with nothing";
}

TEST(HttpRequestReader, KnowsWhetherTheConnectionStaysOpen) {
  HttpRequestReader reader;
  for (const auto& [head, keeps_open] :
       {std::pair{"GET / HTTP/1.1\r\n\r\n", true},
        std::pair{"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", false},
        std::pair{"GET / HTTP/1.0\r\n\r\n", false},
        std::pair{"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false}}) {
    ASSERT_EQ(reader.add(head), State::complete) << head;
    EXPECT_EQ(reader.release().keeps_open, keeps_open) << head;
  }
}

struct Refused {
  const char* name;
  std::string bytes;
};
class ARequestThatIsRefused : public testing::TestWithParam<Refused> {};

TEST_P(ARequestThatIsRefused, IsRefused) {
  HttpRequestReader reader;
  EXPECT_EQ(reader.add(GetParam().bytes), State::refused);
}

INSTANTIATE_TEST_SUITE_P(
    HttpRequestReader, ARequestThatIsRefused,
    testing::Values(
        Refused{"TlsClientHello", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 13)},
        Refused{"StartupMessage", std::string("\x00\x00\x00\x08\x04\xd2\x16\x2f\r\n\r\n", 12)},
        Refused{"NoVersion", "GET /\r\n\r\n"}, Refused{"EndlessLine", "GET /" + std::string(10'000, 'a')},
        Refused{"EndlessHead", "GET / HTTP/1.1\r\n" + std::string(10'000, 'a')},
        Refused{"LargeBody", "POST / HTTP/1.1\r\nContent-Length: 1025\r\n\r\n"},
        Refused{"TwoLengths", "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"}),
    [](const auto& row) { return std::string(row.param.name); });

// Beast limits neither the size line of a chunk nor the trailer.
TEST(HttpRequestReader, RefusesABodyInChunks) {
  HttpRequestReader reader;
  EXPECT_EQ(reader.add("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r"), State::incomplete);
  EXPECT_EQ(reader.add("\n"), State::refused);
  HttpRequestReader at_once;
  EXPECT_EQ(at_once.add("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;aaaaaaaa"), State::refused);
}

TEST(HttpResponse, IsWrittenWithItsLength) {
  const std::string bytes = bytes_of({.status = 503, .body = "no\n"}, {});
  EXPECT_TRUE(bytes.starts_with("HTTP/1.1 503 Service Unavailable\r\n")) << bytes;
  EXPECT_TRUE(bytes.ends_with("\r\nContent-Length: 3\r\n\r\nno\n")) << bytes;
  EXPECT_NE(bytes.find("Connection: close\r\n"), std::string::npos);
}

TEST(HttpResponse, SaysWhetherTheConnectionStaysOpen) {
  EXPECT_EQ(bytes_of({}, {.keeps_open = true}).find("Connection:"), std::string::npos);
}

TEST(HttpResponse, CannotBeUsedByPagesOfOtherOriginsOrAsAnotherType) {
  const std::string bytes = bytes_of({.body = "yes"}, {});
  EXPECT_NE(bytes.find("Cache-Control: no-store\r\n"), std::string::npos) << bytes;
  EXPECT_NE(bytes.find("X-Content-Type-Options: nosniff\r\n"), std::string::npos) << bytes;
  EXPECT_NE(bytes.find("Cross-Origin-Resource-Policy: same-origin\r\n"), std::string::npos) << bytes;
}

TEST(HttpResponse, HasFurtherFields) {
  const std::string bytes = bytes_of({.fields = {{"Referrer-Policy", "no-referrer"}, {"X-A", "b"}}}, {});
  EXPECT_NE(bytes.find("Referrer-Policy: no-referrer\r\n"), std::string::npos) << bytes;
  EXPECT_NE(bytes.find("X-A: b\r\n"), std::string::npos) << bytes;
}

TEST(HttpResponse, HasNoBodyForHead) {
  const std::string bytes = bytes_of({.status = 200, .body = "yes"}, {.is_for_head = true});
  EXPECT_TRUE(bytes.ends_with("\r\nContent-Length: 3\r\n\r\n")) << bytes;
}

TEST(HttpResponse, IsReadAsItWasWritten) {
  const HttpResponse written{.status = 202, .body = "begins", .content_type = "text/css"};
  const auto read = response_of(bytes_of(written, {}));
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->status, written.status);
  EXPECT_EQ(read->body, written.body);
  EXPECT_EQ(read->content_type, written.content_type);
}

TEST(HttpResponse, IsNotReadFromOtherBytes) {
  EXPECT_FALSE(response_of("").has_value());
  EXPECT_FALSE(response_of("N").has_value());
  EXPECT_FALSE(response_of("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort").has_value());
}

}  // namespace
}  // namespace pgveil::proxy
