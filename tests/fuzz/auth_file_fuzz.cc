// Any bytes as pg_hba.conf and as pg_ident.conf, which include each other. Each accepted file must decide
// about a client: a rule matches or not, and names map to a user that can be sent to a server.
#include <cstdint>
#include <string>

#include "protocol/hba.h"
#include "protocol/ident.h"
#include "tests/fuzz/require.h"

namespace {

using namespace pgveil::protocol;
using pgveil::fuzz::require;

// Returns the same text for every file, so that inclusion has no end.
class EndlessFiles final : public AuthFileSource {
 public:
  explicit EndlessFiles(std::string_view text) : text_(text) {}
  tl::expected<std::string, Error> read(const std::string& path) const override {
    if (path.ends_with("missing"))
      return tl::unexpected(Error{true, "No such file or directory", "Check the path."});
    return text_.substr(0, 200);
  }
  tl::expected<std::vector<std::string>, Error> list(const std::string& /*directory*/) const override {
    return std::vector<std::string>{"a.conf", ".b.conf", "c"};
  }

 private:
  std::string text_;
};

void decide(const HbaRules& rules) {
  HbaClient client{.is_unix = false,
                   .has_tls = true,
                   .address = *parse_ip_address("127.0.0.1"),
                   .user = "ann",
                   .database = "ledger",
                   .physical_replication = false,
                   .host_name = std::nullopt};
  auto verdict = rules.match(client, {});
  require(!(verdict.needs_host_name && verdict.rule != nullptr));
  client.host_name = "db.example.com";
  verdict = rules.match(client, {});
  require(!verdict.needs_host_name);
}

void map(const IdentMap& ident) {
  const std::vector<std::string> names{"ann", "CN=ann,O=Example", std::string("ann\0bob", 7)};
  if (const auto match = ident.check("m", names, "ann")) require(match->database_user == "ann");
  if (const auto match = ident.assign("m", names, "bob"))
    require(!match->database_user.empty() && match->database_user.size() <= 63);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const EndlessFiles files(text);
  AuthFileErrors errors;
  const auto lines = split_auth_file(text, "pg_hba.conf", 1, files, errors);
  if (const auto rules = HbaRules::parse(lines)) decide(*rules);
  if (const auto ident = IdentMap::parse(lines)) map(*ident);
  return 0;
}
