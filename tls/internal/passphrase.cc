#include "tls/internal/passphrase.h"

#include <openssl/crypto.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace pgveil::tls {
namespace {

constexpr std::string_view kPrompt = "Enter PEM pass phrase:";  // be-secure-openssl.c: ssl_external_passwd_cb

// Expands `%p` and `%%`. A `%` before any other character is kept.
std::string expanded(std::string_view command) {
  std::string text;
  for (std::size_t i = 0; i < command.size(); ++i) {
    const char next = command[i] == '%' && i + 1 < command.size() ? command[i + 1] : '\0';
    if (next == 'p') {
      text += kPrompt;
    } else {
      text += command[i];
    }
    if (next == 'p' || next == '%') ++i;
  }
  return text;
}

// Returns the error for a result of pclose(); empty for success.
std::string fault_of(int status) {
  if (status == 0) return {};
  if (status == -1) return std::string("left no exit code: ") + std::strerror(errno);
  if (WIFSIGNALED(status)) return "was ended by signal " + std::to_string(WTERMSIG(status));
  return "ended with exit code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

tl::expected<std::size_t, std::string> run_passphrase_command(std::string_view command,
                                                              std::span<char> buffer) {
  const std::string name = "command \"" + std::string(command) + "\" ";
  // "e" sets close-on-exec: child processes that start at the same time do not keep the pipe open.
  std::FILE* output = ::popen(expanded(command).c_str(), "re");
  if (output == nullptr) return tl::unexpected(name + "cannot be run: " + std::strerror(errno));
  // Without a buffer, stdio keeps no copy of the passphrase in memory.
  std::setvbuf(output, nullptr, _IONBF, 0);
  buffer[0] = '\0';
  const bool read = std::fgets(buffer.data(), static_cast<int>(buffer.size()), output) != nullptr;
  std::string fault = fault_of(::pclose(output));
  std::size_t size = read ? ::strnlen(buffer.data(), buffer.size()) : 0;
  while (size > 0 && (buffer[size - 1] == '\n' || buffer[size - 1] == '\r')) --size;
  if (fault.empty() && size == 0) fault = "printed no passphrase";
  if (fault.empty()) return size;
  OPENSSL_cleanse(buffer.data(), buffer.size());
  return tl::unexpected(name + fault);
}

}  // namespace pgveil::tls
