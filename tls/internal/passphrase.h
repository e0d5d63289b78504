// PostgreSQL's ssl_passphrase_command. For the .cc files of this layer only.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace pgveil::tls {

// Has the shell run `command`, with `%p` in it replaced by OpenSSL's prompt and `%%` by `%`, and puts the
// first line of what it prints into `buffer`, without the end of the line. Answers how long that is, or what
// went wrong as a sentence, which never tells what was printed; `buffer` is wiped then. A line longer than
// `buffer` is cut. (be-secure-common.c: run_ssl_passphrase_command)
[[nodiscard]] tl::expected<std::size_t, std::string> run_passphrase_command(std::string_view command,
                                                                            std::span<char> buffer);

}  // namespace pgveil::tls
