#include "proxy/admin/http_service.h"

#include <gtest/gtest.h>

namespace pgveil::proxy {
namespace {

class AService : public testing::Test {
 protected:
  explicit AService(AcceptedHosts hosts = AcceptedHosts::any) : service_(hosts) {
    service_.add_page("/livez", [](const HttpRequest&) { return HttpResponse{.body = "live"}; });
    service_.add_order("/reload", [this](const HttpRequest&) {
      ++reloads_;
      return HttpResponse{.status = 202};
    });
  }
  [[nodiscard]] int status_of(const std::string& method, const std::string& path) const {
    HttpRequest request;
    request.method = method;
    request.path = path;
    return service_.answer(request).status;
  }
  [[nodiscard]] int status_of_post(const std::string& origin, const std::string& sec_fetch_site) const {
    HttpRequest request;
    request.method = "POST";
    request.path = "/reload";
    request.origin = origin;
    request.sec_fetch_site = sec_fetch_site;
    return service_.answer(request).status;
  }
  [[nodiscard]] HttpResponse answer_for_host(const std::string& method, const std::string& path,
                                             const std::string& host) const {
    HttpRequest request;
    request.method = method;
    request.path = path;
    request.host = host;
    return service_.answer(request);
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

class AServiceOfLocalHosts : public AService {
 protected:
  AServiceOfLocalHosts() : AService(AcceptedHosts::local) {}
};

TEST_F(AServiceOfLocalHosts, AnswersRequestsForThisMachineOnly) {
  EXPECT_EQ(answer_for_host("GET", "/livez", "127.0.0.1:9187").status, 200);
  EXPECT_EQ(answer_for_host("POST", "/reload", "rebound.example").status, 421);
  EXPECT_EQ(reloads_, 0);
  const HttpResponse refused = answer_for_host("GET", "/livez", "rebound.example");
  EXPECT_EQ(refused.status, 421);
  EXPECT_EQ(refused.body,
            "requests for this host name are refused; use an IP address or localhost, or a Unix socket\n");
}

}  // namespace
}  // namespace pgveil::proxy
