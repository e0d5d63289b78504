#include "tls/system_trust.h"

#include <cstdlib>
#include <sstream>

#include "tls/internal/openssl.h"

namespace pgveil::tls {
namespace {

std::string variable_or(const char* name, const char* fallback) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : fallback;
}

}  // namespace

std::vector<std::string> system_trust_paths() {
  std::vector<std::string> paths{variable_or(X509_get_default_cert_file_env(), X509_get_default_cert_file())};
  std::istringstream directories(variable_or(X509_get_default_cert_dir_env(), X509_get_default_cert_dir()));
  for (std::string directory; std::getline(directories, directory, ':');)
    if (!directory.empty()) paths.push_back(directory);
  return paths;
}

}  // namespace pgveil::tls
