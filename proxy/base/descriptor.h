// The owner of an open descriptor: it closes the descriptor, unless release() is called.
#pragma once

#include <unistd.h>

#include <utility>

namespace pgveil::proxy {

class Descriptor {
 public:
  explicit Descriptor(int descriptor) : descriptor_(descriptor) {}  // below zero: none
  ~Descriptor() { close(); }
  Descriptor(Descriptor&& other) noexcept : descriptor_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      close();
      descriptor_ = other.release();
    }
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  [[nodiscard]] int get() const { return descriptor_; }
  [[nodiscard]] int release() { return std::exchange(descriptor_, -1); }

 private:
  void close() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  int descriptor_;
};

}  // namespace pgveil::proxy
