// Ownership of libuv handles. libuv needs a handle's memory until its close callback has run; its owner may
// go at once: the deleter closes, and the callback frees. No other callback of a handle runs after
// uv_close().
#pragma once

#include <uv.h>

#include <memory>

namespace pgveil::proxy {

struct CloseHandle {
  template <class T>
  void operator()(T* handle) const noexcept {
    uv_close(reinterpret_cast<uv_handle_t*>(handle),
             [](uv_handle_t* closed) { delete reinterpret_cast<T*>(closed); });
  }
};

// Holds a handle that uv_*_init() has initialised.
template <class T>
using Handle = std::unique_ptr<T, CloseHandle>;

// What libuv callbacks wake: they note what happened and call this, nothing else.
class Wakeable {
 public:
  virtual void wake() = 0;

 protected:
  ~Wakeable() = default;
};

}  // namespace pgveil::proxy
