// Lets one allocation fail. engine_memory_test.cc, which counts them for the whole test binary, does it.
#pragma once

namespace pgveil::tls::test {

// For as long as it lives, the allocation fails that has `before` others of its kind before it.
class FailingAllocation {
 public:
  enum class Of { openssl, operator_new };
  FailingAllocation(Of kind, long before);
  ~FailingAllocation();
  FailingAllocation(const FailingAllocation&) = delete;
  FailingAllocation& operator=(const FailingAllocation&) = delete;

  [[nodiscard]] bool has_failed() const;

 private:
  Of kind_;
};

}  // namespace pgveil::tls::test
