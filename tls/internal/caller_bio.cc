#include "tls/internal/caller_bio.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace pgveil::tls {
namespace {

CallerBytes& bytes_of(BIO* bio) {
  return *static_cast<CallerBytes*>(BIO_get_data(bio));
}

int read_from_caller(BIO* bio, char* buffer, int size) {
  auto& bytes = bytes_of(bio);
  BIO_clear_retry_flags(bio);
  if (bytes.incoming == nullptr || bytes.incoming->empty()) {
    if (bytes.end_of_input) return 0;
    BIO_set_retry_read(bio);
    return -1;
  }
  const std::size_t taken = std::min(static_cast<std::size_t>(size), bytes.incoming->size());
  std::memcpy(buffer, bytes.incoming->data(), taken);
  *bytes.incoming = bytes.incoming->subspan(taken);
  return static_cast<int>(taken);
}

int write_to_caller(BIO* bio, const char* text, int size) {
  auto& bytes = bytes_of(bio);
  BIO_clear_retry_flags(bio);
  const ByteView view(reinterpret_cast<const std::uint8_t*>(text), static_cast<std::size_t>(size));
  const std::size_t taken = bytes.outgoing == nullptr ? 0 : bytes.outgoing->append(view);
  if (taken > 0) return static_cast<int>(taken);
  BIO_set_retry_write(bio);
  return -1;
}

long control(BIO* bio, int command, long /*number*/, void* /*pointer*/) {
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return bytes_of(bio).end_of_input ? 1 : 0;
  return 0;
}

}  // namespace

BIO* make_bio(CallerBytes& bytes) {
  static const BioMethod method = [] {
    BioMethod made(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "caller's bytes"));
    BIO_meth_set_read(made.get(), read_from_caller);
    BIO_meth_set_write(made.get(), write_to_caller);
    BIO_meth_set_ctrl(made.get(), control);
    return made;
  }();
  BIO* bio = BIO_new(method.get());
  if (bio == nullptr) throw std::bad_alloc();
  BIO_set_data(bio, &bytes);
  BIO_set_init(bio, 1);
  return bio;
}

}  // namespace pgveil::tls
