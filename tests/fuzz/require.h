// Reports that a property does not hold. It works in every build type, and libFuzzer notices it.
#pragma once

namespace pgveil::fuzz {

inline void require(bool holds) {
  if (!holds) __builtin_trap();
}

}  // namespace pgveil::fuzz
