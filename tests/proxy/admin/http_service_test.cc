#include "proxy/admin/http_service.h"

#include <gtest/gtest.h>

namespace pgveil::proxy {
namespace {

class AService : public testing::Test {
 protected:
  AService() {
    service_.add_page("/livez", [](const HttpRequest&) { return HttpResponse{.body = "live"}; });
    service_.add_order("/reload", [this](const HttpRequest&) {
      ++reloads_;
      return HttpResponse{.status = 202};
    });
  }
  [[nodiscard]] int status_of(const std::string& method, const std::string& path) const {
    return service_.answer({.method = method, .path = path, .accept = "", .origin = "", .sec_fetch_site = ""})
        .status;
  }
  [[nodiscard]] int status_of_post(const std::string& origin, const std::string& sec_fetch_site) const {
    return service_
        .answer({.method = "POST",
                 .path = "/reload",

                 .accept = "",
                 .origin = origin,
                 .sec_fetch_site = sec_fetch_site})
        .status;
  }

  HttpService service_;
  int reloads_ = 0;
};

TEST_F(AService, AnswersWithItsPages) {
  EXPECT_EQ(status_of("GET", "/livez"), 200);
  EXPECT_EQ(status_of("HEAD", "/livez"), 200);
  EXPECT_EQ(status_of("GET", "/livez/"), 404);
  EXPECT_EQ(status_of("POST", "/livez"), 405);
}

TEST_F(AService, TakesOrdersByPostOnly) {
  EXPECT_EQ(status_of("GET", "/reload"), 405);
  EXPECT_EQ(reloads_, 0);
  EXPECT_EQ(status_of("POST", "/reload"), 202);
  EXPECT_EQ(reloads_, 1);
}

TEST_F(AService, TakesNoOrderOfAPageOfAnotherOrigin) {
  EXPECT_EQ(status_of_post("http://evil.example", ""), 403);
  EXPECT_EQ(status_of_post("null", "cross-site"), 403);
  EXPECT_EQ(status_of_post("", "same-site"), 403);
  EXPECT_EQ(reloads_, 0);
  EXPECT_EQ(status_of_post("http://127.0.0.1:9187", "same-origin"), 202);
  EXPECT_EQ(reloads_, 1);
}

}  // namespace
}  // namespace pgveil::proxy
