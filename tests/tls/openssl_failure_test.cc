// Each call of OpenSSL's ciphers and key derivation fails once, and each allocation, OpenSSL's and ours. Then
// the session fails with a reason, or continues unaffected. No data is ever received that was not sent.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include <memory>
#include <new>
#include <string>
#include <utility>

#include "tests/support/failing_memory.h"
#include "tests/tls/peers.h"

namespace {

// The number of calls that succeed before one fails; negative: none fails.
int calls_until_failure = -1;

bool fails_now() {
  if (calls_until_failure < 0) return false;
  return calls_until_failure-- == 0;
}

// Returns the library's function that a function of this file replaces.
template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

// NOLINTBEGIN(readability-identifier-naming): OpenSSL's names, for the whole test binary
#define PGVEIL_MAY_FAIL(result, name, parameters, arguments)     \
  extern "C" result name parameters {                            \
    static const auto function = real<result parameters>(#name); \
    if (fails_now()) return {};                                  \
    return function arguments;                                   \
  }
PGVEIL_MAY_FAIL(int, EVP_CipherInit_ex2,
                (EVP_CIPHER_CTX * context, const EVP_CIPHER* cipher, const unsigned char* key,
                 const unsigned char* iv, int encrypts, const OSSL_PARAM* parameters),
                (context, cipher, key, iv, encrypts, parameters))
PGVEIL_MAY_FAIL(int, EVP_EncryptInit_ex2,
                (EVP_CIPHER_CTX * context, const EVP_CIPHER* cipher, const unsigned char* key,
                 const unsigned char* iv, const OSSL_PARAM* parameters),
                (context, cipher, key, iv, parameters))
PGVEIL_MAY_FAIL(int, EVP_DecryptInit_ex2,
                (EVP_CIPHER_CTX * context, const EVP_CIPHER* cipher, const unsigned char* key,
                 const unsigned char* iv, const OSSL_PARAM* parameters),
                (context, cipher, key, iv, parameters))
PGVEIL_MAY_FAIL(int, EVP_EncryptUpdate,
                (EVP_CIPHER_CTX * context, unsigned char* out, int* size, const unsigned char* in,
                 int in_size),
                (context, out, size, in, in_size))
PGVEIL_MAY_FAIL(int, EVP_DecryptUpdate,
                (EVP_CIPHER_CTX * context, unsigned char* out, int* size, const unsigned char* in,
                 int in_size),
                (context, out, size, in, in_size))
PGVEIL_MAY_FAIL(int, EVP_EncryptFinal_ex, (EVP_CIPHER_CTX * context, unsigned char* out, int* size),
                (context, out, size))
PGVEIL_MAY_FAIL(int, EVP_DecryptFinal_ex, (EVP_CIPHER_CTX * context, unsigned char* out, int* size),
                (context, out, size))
PGVEIL_MAY_FAIL(int, EVP_CIPHER_CTX_ctrl, (EVP_CIPHER_CTX * context, int type, int size, void* value),
                (context, type, size, value))
PGVEIL_MAY_FAIL(EVP_CIPHER_CTX*, EVP_CIPHER_CTX_new, (), ())
PGVEIL_MAY_FAIL(EVP_KDF_CTX*, EVP_KDF_CTX_new, (EVP_KDF * kdf), (kdf))
PGVEIL_MAY_FAIL(int, EVP_KDF_derive,
                (EVP_KDF_CTX * context, unsigned char* key, std::size_t size, const OSSL_PARAM* parameters),
                (context, key, size, parameters))
#undef PGVEIL_MAY_FAIL
// NOLINTEND(readability-identifier-naming)

namespace pgveil::tls::test {
namespace {

using pgveil::test::Allocator;
using pgveil::test::FailingAllocation;
using Status = Engine::Status;

// Both ends are engines of ours. The contexts are made once, and are used before anything fails.
class Failures : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const Site site;
    client_context_ = Site::build(site.client_settings());
    server_context_ = Site::build(site.server_settings());
    EXPECT_TRUE(make_ends());
    EXPECT_EQ(converse(), Status::want_input);
  }
  static void TearDownTestSuite() {
    client_.reset();
    server_.reset();
    client_context_.reset();
    server_context_.reset();
  }

  static void make_engines() {
    client_ = std::make_unique<EngineEnd>(Engine::to_server(client_context_, {.host = Site::kHost}));
    server_ = std::make_unique<EngineEnd>(Engine::to_client(server_context_, false));
  }
  // Makes both ends, with a handshake. Returns false if it failed.
  static bool make_ends() {
    make_engines();
    return shake_hands(*client_, *server_);
  }

  // Sends a query and an answer of several records. Returns the status of the end that failed, or want_input.
  static Status converse() {
    const std::string query(20'000, 'q');
    const std::string answer(40'000, 'a');
    for (const auto& [from, to, text] : {std::tuple(client_.get(), server_.get(), &query),
                                         std::tuple(server_.get(), client_.get(), &answer)}) {
      const Bytes bytes = bytes_of(*text);
      ByteView plaintext(bytes);
      Bytes memory(ciphertext_room(bytes.size()));
      Outgoing out(memory);
      const auto status = from->engine().write(plaintext, out);
      std::string received;
      const auto read = to->read({out.written().begin(), out.written().end()}, received);
      EXPECT_TRUE(received == text->substr(0, received.size())) << "this was not sent";
      if (status == Status::failed) return failure_of(*from);
      if (read != Status::want_input) return failure_of(*to);
      EXPECT_EQ(received.size(), text->size());
    }
    return Status::want_input;
  }

  static Status failure_of(const EngineEnd& end) {
    EXPECT_NE(end.failure().reason, "");
    return Status::failed;
  }
  // One of the two ends must report a reason.
  static void expect_reason() { EXPECT_NE(client_->failure().reason + server_->failure().reason, ""); }

  static inline std::shared_ptr<const ClientContext> client_context_;
  static inline std::shared_ptr<const ServerContext> server_context_;
  static inline std::unique_ptr<EngineEnd> client_;
  static inline std::unique_ptr<EngineEnd> server_;
};

TEST_F(Failures, OfEachCallAfterTheHandshakeAreInternalErrors) {
  if (records_under_test() != Records::own) GTEST_SKIP() << "OpenSSL calls its ciphers itself";
  int failed = 0;
  for (int calls = 0;; ++calls) {
    ASSERT_TRUE(make_ends());
    calls_until_failure = calls;
    const auto status = converse();
    const bool has_failed = std::exchange(calls_until_failure, -1) < 0;
    if (!has_failed) break;
    // The last call for opening a record verifies it, so its failure looks like a changed record.
    ASSERT_EQ(static_cast<int>(status), static_cast<int>(Status::failed)) << "call " << calls;
    const bool is_client = client_->failure().reason != "";
    const std::string& reason = is_client ? client_->failure().reason : server_->failure().reason;
    EXPECT_TRUE(reason == "internal error" || reason == "decryption failed or bad record mac") << reason;
    ++failed;
  }
  EXPECT_GT(failed, 50);
}

TEST_F(Failures, OfEachCallInTheHandshakeAreRefusalsOrLeaveItToOpenSsl) {
  int calls = 0;
  for (;; ++calls) {
    calls_until_failure = calls;
    bool is_done = false;
    bool is_out_of_memory = false;
    try {
      is_done = make_ends();
    } catch (const std::bad_alloc&) {
      is_out_of_memory = true;  // the result of a failed EVP_CIPHER_CTX_new()
    }
    const bool has_failed = std::exchange(calls_until_failure, -1) < 0;
    if (!has_failed) break;
    if (is_done)
      EXPECT_EQ(static_cast<int>(converse()), static_cast<int>(Status::want_input)) << "call " << calls;
    else if (!is_out_of_memory)
      expect_reason();
  }
  // With OpenSSL's records, OpenSSL makes all of these calls inside of its library.
  if (records_under_test() == Records::own) {
    EXPECT_GT(calls, 10);
  }
}

// Each allocation needs a handshake, and there are some thousands. So each test has every third of them.
constexpr int kStep = 3;
class FailuresOfEveryThird : public Failures, public testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(From, FailuresOfEveryThird, testing::Range(0, kStep));

// Allocations of OpenSSL, during and after the handshake. OpenSSL can continue without some of them.
TEST_P(FailuresOfEveryThird, AllocationAreRefusalsOrOfNoConsequence) {
  int failed = 0;
  int allocations = GetParam();
  for (;; allocations += kStep) {
    bool is_done = false;
    bool is_out_of_memory = false;
    make_engines();
    {
      const FailingAllocation failing(allocations, Allocator::openssl);
      try {
        is_done = shake_hands(*client_, *server_);
      } catch (const std::bad_alloc&) {
        is_out_of_memory = true;
      }
      if (is_done) static_cast<void>(converse());
      if (!failing.has_failed()) break;
    }
    if (!is_done) ++failed;
    if (!is_done && !is_out_of_memory) expect_reason();
  }
  EXPECT_GT(failed, 20);
  EXPECT_GT(allocations, 500);
}

// Allocations of ours. They end with std::bad_alloc, after which the caller ends the session.
TEST_F(Failures, OfEachAllocationOfOursAreBadAlloc) {
  int failed = 0;
  for (int allocations = 0;; ++allocations) {
    bool is_done = false;
    bool is_out_of_memory = false;
    const FailingAllocation failing(allocations);
    try {
      is_done = make_ends() && converse() == Status::want_input;
    } catch (const std::bad_alloc&) {
      is_out_of_memory = true;
    }
    if (!failing.has_failed()) break;
    ASSERT_TRUE(is_out_of_memory) << "allocation " << allocations << (is_done ? ", and it was done" : "");
    ++failed;
  }
  EXPECT_GT(failed, 20);
}

// The same as the test before, for the objects that are made once per configuration.
TEST(FailuresOfContexts, OfEachAllocationOfOursAreBadAlloc) {
  const Site site;
  const auto client_settings = site.client_settings();
  const auto server_settings = site.server_settings();
  int failed = 0;
  for (int allocations = 0;; ++allocations) {
    bool is_out_of_memory = false;
    const FailingAllocation failing(allocations);
    try {
      static_cast<void>(ClientContext::build(client_settings));
      static_cast<void>(ServerContext::build(server_settings));
    } catch (const std::bad_alloc&) {
      is_out_of_memory = true;
    }
    if (!failing.has_failed()) break;
    ASSERT_TRUE(is_out_of_memory) << "allocation " << allocations;
    ++failed;
  }
  EXPECT_GT(failed, 20);
}

}  // namespace
}  // namespace pgveil::tls::test
