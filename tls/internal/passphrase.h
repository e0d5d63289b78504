// PostgreSQL's ssl_passphrase_command. This header is internal to tls/.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace pgveil::tls {

// Runs `command` in the shell, with `%p` replaced by OpenSSL's prompt and `%%` by `%`. Writes the first line
// of its output to `buffer`, without the end of the line. Returns the length of the line, or an error as a
// sentence. The error never contains the output, and `buffer` is wiped. A line longer than `buffer` is
// truncated. (be-secure-common.c: run_ssl_passphrase_command)
[[nodiscard]] tl::expected<std::size_t, std::string> run_passphrase_command(std::string_view command,
                                                                            std::span<char> buffer);

}  // namespace pgveil::tls
