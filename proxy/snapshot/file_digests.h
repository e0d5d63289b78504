// The content of files as digests, to tell whether a file has changed.
#pragma once

#include <map>
#include <set>
#include <string>

#include "tls/digest.h"

namespace pgveil::proxy {

// By path. Digests can only be compared within one process: they depend on a random key, so that they tell nothing
// about a password in a file.
using FileDigests = std::map<std::string, tls::Sha256>;

// Returns a digest for each path: of the content of a file; of the names and contents of the files in a directory, without its
// subdirectories; of the error if it cannot be read. Symbolic links are followed. Of anything else (a FIFO, a
// device) only the type counts. Empty if OpenSSL has no hashes or random numbers (tls::missing_algorithm()).
[[nodiscard]] FileDigests digest_files(const std::set<std::string>& paths);

}  // namespace pgveil::proxy
