// How a fuzz target says that a property does not hold: in every build type, and where the fuzzer sees it.
#pragma once

namespace pgveil::fuzz {

inline void require(bool holds) {
  if (!holds) __builtin_trap();
}

}  // namespace pgveil::fuzz
