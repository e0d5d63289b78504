#include "proxy/admin/browser_page.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace pgveil::proxy {
namespace {

std::string field(const HttpResponse& response, const std::string& name) {
  const auto found = std::ranges::find(response.fields, name, &std::pair<std::string, std::string>::first);
  return found == response.fields.end() ? "" : found->second;
}

std::size_t count(std::string_view text, std::string_view word) {
  std::size_t count = 0;
  for (auto at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) ++count;
  return count;
}

// The example of the specification "Content Security Policy Level 3", section 2.3.1.
TEST(BrowserPage, HashesAsTheSpecificationSays) {
  EXPECT_EQ(csp_hash("<p>a</p><script>alert('Hello, world.');</script>", "script"),
            "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='");
}

TEST(BrowserPage, AllowsItsOwnScriptAndStyleOnly) {
  const std::string policy = field(browser_page(), "Content-Security-Policy");
  EXPECT_TRUE(policy.starts_with("default-src 'none'; ")) << policy;
  EXPECT_NE(policy.find("script-src " + csp_hash(status_html(), "script") + ";"), std::string::npos)
      << policy;
  EXPECT_NE(policy.find("style-src " + csp_hash(status_html(), "style") + ";"), std::string::npos) << policy;
  for (const char* part :
       {"connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"})
    EXPECT_NE(policy.find(part), std::string::npos) << part;
  EXPECT_EQ(policy.find("unsafe"), std::string::npos) << policy;
}

TEST(BrowserPage, TellsNobodyWhereItIs) {
  EXPECT_EQ(field(browser_page(), "Referrer-Policy"), "no-referrer");
}

TEST(BrowserPage, HasOneScriptAndOneStyle) {
  EXPECT_EQ(browser_page().content_type, "text/html; charset=utf-8");
  EXPECT_TRUE(status_html().starts_with("<!DOCTYPE html>"));
  EXPECT_TRUE(status_html().ends_with("</html>\n"));
  EXPECT_EQ(count(status_html(), "<script"), 1U);
  EXPECT_EQ(count(status_html(), "<style"), 1U);
}

// Names in certificates are chosen by others.
TEST(BrowserPage, InsertsNoTextAsHtml) {
  for (const char* way : {"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(",
                          "Function(", " style=\"", " onclick"})
    EXPECT_EQ(count(status_html(), way), 0U) << way;
}

}  // namespace
}  // namespace pgveil::proxy
