// Both ends of a measurement without PostgreSQL's own cost. The server implements the small part of the
// protocol that is needed (SSLRequest or direct TLS with ALPN, or no TLS). The clients copy out, copy in,
// stay idle or connect again and again. They use the real COPY protocol with messages of 1 KiB, so that a
// proxy that reads every message has to do so. Sockets are blocking, with one thread for each connection.
//
//   pump serve CERTIFICATE KEY [FOLDER]
//                                prints "port N" and serves until its standard input ends; with a folder
//                                also on its Unix socket .s.PGSQL.N, and then on the port with TLS only
//   pump out PORT MEBIBYTES      prints "bytes B seconds S"
//   pump in PORT MEBIBYTES       the same
//   pump ping PORT QUERIES       queries one after the other in a session: prints "queries N seconds S"
//   pump idle PORT SESSIONS      prints "ready" once each has had an answer to a query; ends when its input ends
//   pump connect PORT SESSIONS   eight at a time: log in, one query, disconnect; prints "sessions N seconds S"
//
// Clients use plaintext, or TLS 1.3 with further arguments: `postgres CA` (an SSLRequest first) or `direct
// CA`, followed by CERTIFICATE KEY for a client certificate. The server's certificate must be for localhost.
// The server accepts all users without a password, except `scram`, who must log in with SCRAM-SHA-256-PLUS.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "pump_scram.h"

namespace {

using std::chrono::steady_clock;

constexpr std::size_t kHeaderBytes = 5;      // type and length
constexpr std::size_t kMessageBytes = 1024;  // one CopyData with its header
constexpr std::size_t kBlockBytes = 256 * kMessageBytes;
constexpr int kConnectingAtOnce = 8;
constexpr std::int32_t kSslRequestCode = 80877103;
constexpr std::int32_t kCancelRequestCode = 80877102;
constexpr std::uint8_t kTlsHandshakeRecord = 0x16;
constexpr std::string_view kAlpn = "\x0apostgresql";
constexpr std::string_view kScramUser = "scram";
constexpr std::string_view kScramPassword = "bench";
// Codes of an Authentication message.
constexpr std::size_t kAuthenticationOk = 0;
constexpr std::size_t kAuthenticationSasl = 10;
constexpr std::size_t kAuthenticationSaslContinue = 11;
constexpr std::size_t kAuthenticationSaslFinal = 12;

[[noreturn]] void die(std::string_view why) {
  std::fprintf(stderr, "pump: %.*s: %s\n", static_cast<int>(why.size()), why.data(), std::strerror(errno));
  std::_Exit(1);
}

// --- a connection: plaintext or TLS ---

class Connection {
 public:
  explicit Connection(int descriptor) : descriptor_(descriptor) {
    const int on = 1;
    setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    // close_notify and FIN are sent in one packet, so that the peer always receives both together.
    const int on = 1;
    setsockopt(descriptor_, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
    if (ssl_) SSL_shutdown(ssl_.get());
    close(descriptor_);
  }

  // Makes the server's side of a handshake; false if it fails.
  bool accept_tls(SSL_CTX* context) {
    ssl_.reset(SSL_new(context));
    return SSL_set_fd(ssl_.get(), descriptor_) == 1 && SSL_accept(ssl_.get()) == 1;
  }

  // Makes the client's side of a handshake. The server's certificate must be for localhost.
  bool connect_tls(SSL_CTX* context) {
    ssl_.reset(SSL_new(context));
    static char name[] = "localhost";
    // SSL_set_tlsext_host_name() is a macro with a C cast.
    return SSL_ctrl(ssl_.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name) == 1 &&
           X509_VERIFY_PARAM_set1_host(SSL_get0_param(ssl_.get()), name, 0) == 1 &&
           SSL_set_fd(ssl_.get(), descriptor_) == 1 && SSL_connect(ssl_.get()) == 1;
  }

  bool has_tls() const { return ssl_ != nullptr; }

  // Returns the first byte, which remains unread; nullopt at the end.
  std::optional<std::uint8_t> peek() const {
    std::uint8_t first = 0;
    if (recv(descriptor_, &first, 1, MSG_PEEK) != 1) return std::nullopt;
    return first;
  }

  // Reads up to `size` bytes. Returns 0 at the end, also after an error.
  std::size_t read(char* to, std::size_t size) {
    if (ssl_) return static_cast<std::size_t>(std::max(SSL_read(ssl_.get(), to, static_cast<int>(size)), 0));
    return static_cast<std::size_t>(std::max<ssize_t>(recv(descriptor_, to, size, 0), 0));
  }

  bool read_all(char* to, std::size_t size) {
    while (size > 0) {
      const std::size_t got = read(to, size);
      if (got == 0) return false;
      to += got;
      size -= got;
    }
    return true;
  }

  bool write_all(std::string_view bytes) {
    if (ssl_) return SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())) > 0;
    while (!bytes.empty()) {
      const ssize_t sent = send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

 private:
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  int descriptor_;
  std::unique_ptr<SSL, Free> ssl_;
};

// --- messages ---

std::string int32(std::size_t value) {
  std::string bytes(4, '\0');
  for (std::size_t i = 0; i < 4; ++i) bytes[i] = static_cast<char>(value >> (24 - 8 * i));
  return bytes;
}

std::uint32_t read_int32(const char* bytes) {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes, sizeof value);
  return ntohl(value);
}

std::string message(char type, std::string_view body) {
  return type + int32(body.size() + 4) + std::string(body);
}

std::string parameter(std::string_view name, std::string_view value) {
  return message('S', std::string(name) + '\0' + std::string(value) + '\0');
}

const std::string& ready_for_query() {
  static const std::string bytes = message('Z', "I");
  return bytes;
}

const std::string& command_complete() {
  static const std::string bytes = message('C', std::string_view("COPY 1", 7)) + ready_for_query();
  return bytes;
}

// Returns a block of complete CopyData messages.
const std::string& copy_data() {
  static const std::string block = [] {
    const std::string one = message('d', std::string(kMessageBytes - kHeaderBytes, 'x'));
    std::string all;
    while (all.size() < kBlockBytes) all += one;
    return all;
  }();
  return block;
}

// Reads messages, many at a time.
class MessageReader {
 public:
  explicit MessageReader(Connection& from) : from_(from) {}

  // Returns the type of the next message, or nullopt at the end. body() is valid until the next call.
  std::optional<char> next() {
    if (!ensure(kHeaderBytes)) return std::nullopt;
    const char type = buffer_[begin_];
    const std::size_t size = read_int32(&buffer_[begin_ + 1]) + 1;
    if (size < kHeaderBytes || size > kBlockBytes || !ensure(size)) return std::nullopt;
    body_ = std::string_view(&buffer_[begin_ + kHeaderBytes], size - kHeaderBytes);
    begin_ += size;
    return type;
  }
  std::string_view body() const { return body_; }

  // Reads up to a message of this type. Returns the number of bytes in the bodies before it, or nullopt at the end.
  std::optional<std::uint64_t> skip_until(char type) {
    std::uint64_t bytes = 0;
    while (const auto got = next()) {
      if (*got == type) return bytes;
      bytes += body_.size();
    }
    return std::nullopt;
  }

 private:
  bool ensure(std::size_t size) {
    while (end_ - begin_ < size) {
      if (kBlockBytes - begin_ < size || begin_ == end_) {
        std::memmove(&buffer_[0], &buffer_[begin_], end_ - begin_);
        end_ -= begin_;
        begin_ = 0;
      }
      const std::size_t got = from_.read(&buffer_[end_], kBlockBytes - end_);
      if (got == 0) return false;
      end_ += got;
    }
    return true;
  }

  Connection& from_;
  // Not initialized, so that a thousand idle sessions do not use pages for it.
  std::unique_ptr<char[]> buffer_{new char[kBlockBytes]};
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::string_view body_;
};

// --- the server ---

int select_alpn(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                unsigned int offered_size, void*) {
  unsigned char* found = nullptr;
  if (SSL_select_next_proto(&found, size, reinterpret_cast<const unsigned char*>(kAlpn.data()), kAlpn.size(),
                            offered, offered_size) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

void use_certificate(SSL_CTX* context, const char* certificate, const char* key) {
  if (SSL_CTX_use_certificate_chain_file(context, certificate) == 1 &&
      SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1)
    return;
  ERR_print_errors_fp(stderr);
  die("certificate or key");
}

// Returns a context with PostgreSQL's settings: no resumption, so every connection makes a full handshake
// (be-secure-openssl.c).
SSL_CTX* server_context(const char* certificate, const char* key) {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_alpn_select_cb(context, select_alpn, nullptr);
  use_certificate(context, certificate, key);
  return context;
}

// Whether the server accepts clients without TLS.
enum class Plaintext { allowed, refused };

// Reads up to the StartupMessage, with SSLRequest, direct TLS or no TLS. Returns its settings: names and values, each
// terminated by a zero. nullopt: the client does not begin a session.
std::optional<std::string> greet(Connection& client, SSL_CTX* context, Plaintext plaintext) {
  const auto first = client.peek();
  if (!first) return std::nullopt;
  if (*first == kTlsHandshakeRecord && !client.accept_tls(context)) return std::nullopt;
  for (;;) {
    std::array<char, 8> head{};
    if (!client.read_all(head.data(), head.size())) return std::nullopt;
    const auto code = static_cast<std::int32_t>(read_int32(&head[4]));
    if (code == kCancelRequestCode) return std::nullopt;
    if (code == kSslRequestCode) {
      if (!client.write_all("S") || !client.accept_tls(context)) return std::nullopt;
      continue;
    }
    if (plaintext == Plaintext::refused && !client.has_tls()) {
      std::fputs("pump: somebody came without TLS\n", stderr);
      return std::nullopt;
    }
    std::string settings(read_int32(head.data()) - head.size(), '\0');
    if (!client.read_all(settings.data(), settings.size())) return std::nullopt;
    return settings;
  }
}

std::string_view user_of(std::string_view settings) {
  while (!settings.empty()) {
    const auto name = settings.substr(0, settings.find('\0'));
    settings.remove_prefix(std::min(name.size() + 1, settings.size()));
    const auto value = settings.substr(0, settings.find('\0'));
    settings.remove_prefix(std::min(value.size() + 1, settings.size()));
    if (name == "user") return value;
  }
  return {};
}

// Returns the client's first SCRAM message from a SASLInitialResponse (after mechanism and length); nullopt if it is
// another message.
std::optional<std::string_view> client_first(std::string_view body) {
  static constexpr std::string_view kMechanism("SCRAM-SHA-256-PLUS\0", 19);
  if (!body.starts_with(kMechanism) || body.size() < kMechanism.size() + 4) return std::nullopt;
  return body.substr(kMechanism.size() + 4);
}

// Requests SCRAM and makes the whole exchange, up to the server's own signature.
bool authenticate(Connection& client, MessageReader& messages, const pump::ScramSecret& secret) {
  static const std::string mechanisms("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", 34);
  static const std::string request = message('R', int32(kAuthenticationSasl) + mechanisms);
  pump::ScramLogin login(secret);
  if (!client.write_all(request) || messages.next() != 'p') return false;
  const auto begun = client_first(messages.body());
  const auto challenge = begun ? login.first(*begun) : std::nullopt;
  if (!challenge || !client.write_all(message('R', int32(kAuthenticationSaslContinue) + *challenge)))
    return false;
  if (messages.next() != 'p') return false;
  const auto proof = login.final(messages.body());
  return proof && client.write_all(message('R', int32(kAuthenticationSaslFinal) + *proof));
}

// Answers a query: "out N" and "in N" copy N MiB, any other query is answered at once.
bool answer(Connection& client, MessageReader& messages, std::string_view query) {
  if (query.starts_with("out ")) {
    const int mebibytes = std::atoi(query.data() + 4);
    if (!client.write_all(message('H', std::string_view("\0\0\0", 3)))) return false;
    for (std::size_t sent = 0; sent < static_cast<std::size_t>(mebibytes) << 20; sent += copy_data().size())
      if (!client.write_all(copy_data())) return false;
    return client.write_all(message('c', "") + command_complete());
  }
  if (query.starts_with("in ")) {
    if (!client.write_all(message('G', std::string_view("\0\0\0", 3)))) return false;
    if (!messages.skip_until('c')) return false;
  }
  return client.write_all(command_complete());
}

void serve_one(int descriptor, SSL_CTX* context, const pump::ScramSecret& secret, Plaintext plaintext) {
  Connection client(descriptor);
  const auto settings = greet(client, context, plaintext);
  if (!settings) return;
  MessageReader messages(client);
  if (user_of(*settings) == kScramUser && !authenticate(client, messages, secret)) {
    std::fputs("pump: a login by SCRAM-SHA-256-PLUS failed\n", stderr);
    return;
  }
  const std::string welcome = message('R', int32(kAuthenticationOk)) + parameter("server_version", "15.0") +
                              parameter("client_encoding", "UTF8") + parameter("server_encoding", "UTF8") +
                              parameter("DateStyle", "ISO, MDY") + parameter("TimeZone", "UTC") +
                              parameter("standard_conforming_strings", "on") +
                              message('K', int32(1) + int32(2)) + ready_for_query();
  if (!client.write_all(welcome)) return;
  while (const auto type = messages.next()) {
    if (*type == 'X') return;
    if (*type == 'Q' && !answer(client, messages, std::string(messages.body()))) return;
  }
}

// Listens on a free port of 127.0.0.1, and writes it to `port`.
int listen_on_port(int& port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener, generic, size) != 0 || listen(listener, SOMAXCONN) != 0) die("listen");
  getsockname(listener, generic, &size);
  port = ntohs(address.sin_port);
  return listener;
}

int listen_on_path(const std::string& path) {
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) die("the folder's name is too long");
  path.copy(address.sun_path, path.size());
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener, SOMAXCONN) != 0)
    die("listen on the Unix socket");
  return listener;
}

// Serves until standard input ends. `folder` is for the Unix socket; null: there is none.
int serve(const char* certificate, const char* key, const char* folder) {
  SSL_CTX* context = server_context(certificate, key);
  const pump::ScramSecret secret(kScramPassword, SSL_CTX_get0_certificate(context));
  int port = 0;
  const int network = listen_on_port(port);
  const int local =
      folder == nullptr ? -1 : listen_on_path(std::string(folder) + "/.s.PGSQL." + std::to_string(port));
  std::printf("port %d\n", port);
  std::fflush(stdout);

  const Plaintext from_network = folder == nullptr ? Plaintext::allowed : Plaintext::refused;
  // poll() ignores a descriptor of -1.
  std::array<pollfd, 3> watched{{{network, POLLIN, 0}, {local, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}}};
  while (poll(watched.data(), watched.size(), -1) >= 0 && watched[2].revents == 0) {
    for (const pollfd& listener : {watched[0], watched[1]}) {
      if ((listener.revents & POLLIN) == 0) continue;
      const int descriptor = accept(listener.fd, nullptr, nullptr);
      const Plaintext plaintext = listener.fd == local ? Plaintext::allowed : from_network;
      if (descriptor >= 0) std::thread(serve_one, descriptor, context, std::cref(secret), plaintext).detach();
    }
  }
  std::_Exit(0);  // without waiting for the sessions that are still served
}

// --- the clients ---

// The TLS of a client.
struct Tls {
  SSL_CTX* context = nullptr;  // null: plaintext
  bool is_direct = false;      // without an SSLRequest
};

// Returns a context without resumption, so every connection makes a full handshake. `certificate` and `key`
// are null if the client has no certificate.
SSL_CTX* client_context(const char* authority, const char* certificate, const char* key) {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  if (SSL_CTX_load_verify_locations(context, authority, nullptr) != 1) die("CA");
  // Unlike the other functions, this one returns 0 for success.
  if (SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(kAlpn.data()), kAlpn.size()) !=
      0)
    die("ALPN");
  if (certificate != nullptr) use_certificate(context, certificate, key);
  return context;
}

// Reads the arguments after those of the command: none, or `postgres|direct CA [CERTIFICATE KEY]`.
Tls read_tls(int count, char** words) {
  if (count == 0) return {};
  const bool has_certificate = count == 4;
  return {
      client_context(words[1], has_certificate ? words[2] : nullptr, has_certificate ? words[3] : nullptr),
      words[0] == std::string_view("direct")};
}

// Sends an SSLRequest, as libpq does, and waits for the answer.
void request_tls(Connection& connection) {
  char answer = 0;
  const std::string request = int32(8) + int32(kSslRequestCode);
  if (!connection.write_all(request) || !connection.read_all(&answer, 1) || answer != 'S')
    die("TLS is refused");
}

// Sends the StartupMessage, in plaintext or inside TLS.
std::unique_ptr<Connection> log_in(int port, const Tls& tls) {
  const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) die("connect");
  auto connection = std::make_unique<Connection>(descriptor);
  if (tls.context && !tls.is_direct) request_tls(*connection);
  if (tls.context && !connection->connect_tls(tls.context)) {
    ERR_print_errors_fp(stderr);
    die("TLS");
  }
  static constexpr std::string_view kSettings("user\0bench\0database\0bench\0", 27);
  if (!connection->write_all(int32(kSettings.size() + 8) + int32(196608) + std::string(kSettings)))
    die("startup");
  return connection;
}

std::string query(std::string_view text) {
  return message('Q', std::string(text) + '\0');
}

void query_once(Connection& server, MessageReader& messages) {
  if (!messages.skip_until('Z')) die("no login");
  if (!server.write_all(query("ping")) || !messages.skip_until('Z')) die("no answer to a query");
}

double seconds_since(steady_clock::time_point begin) {
  return std::chrono::duration<double>(steady_clock::now() - begin).count();
}

int copy(int port, int mebibytes, bool out, const Tls& tls) {
  const auto server = log_in(port, tls);
  MessageReader messages(*server);
  query_once(*server, messages);
  const std::size_t bytes = static_cast<std::size_t>(mebibytes) << 20;

  const auto begin = steady_clock::now();
  if (!server->write_all(query((out ? "out " : "in ") + std::to_string(mebibytes)))) die("query");
  if (!out) {
    if (!messages.skip_until('G')) die("no CopyInResponse");
    for (std::size_t sent = 0; sent < bytes; sent += copy_data().size())
      if (!server->write_all(copy_data())) die("the connection was lost");
    if (!server->write_all(message('c', ""))) die("the connection was lost");
  }
  const auto received = messages.skip_until('Z');
  const double seconds = seconds_since(begin);
  if (!received) die("the connection was lost");
  if (out && *received < bytes / kMessageBytes * (kMessageBytes - kHeaderBytes)) die("bytes are missing");
  std::printf("bytes %zu seconds %.6f\n", bytes, seconds);
  server->write_all(message('X', ""));
  return 0;
}

int ping(int port, int queries, const Tls& tls) {
  const auto server = log_in(port, tls);
  MessageReader messages(*server);
  query_once(*server, messages);
  const std::string one = query("ping");
  const auto begin = steady_clock::now();
  for (int i = 0; i < queries; ++i)
    if (!server->write_all(one) || !messages.skip_until('Z')) die("no answer to a query");
  std::printf("queries %d seconds %.6f\n", queries, seconds_since(begin));
  server->write_all(message('X', ""));
  return 0;
}

// Calls `work` `times` times with the number of the call, in kConnectingAtOnce threads.
void repeat(int times, const std::function<void(int)>& work) {
  std::atomic<int> next = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kConnectingAtOnce; ++i) {
    threads.emplace_back([&] {
      for (int number = next++; number < times; number = next++) work(number);
    });
  }
  for (auto& thread : threads) thread.join();
}

int idle(int port, int sessions, const Tls& tls) {
  std::vector<std::unique_ptr<Connection>> open(static_cast<std::size_t>(sessions));
  repeat(sessions, [&](int number) {
    auto& one = open[static_cast<std::size_t>(number)];
    one = log_in(port, tls);
    MessageReader messages(*one);
    query_once(*one, messages);
  });
  std::printf("ready\n");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}

int connect_again_and_again(int port, int sessions, const Tls& tls) {
  const auto begin = steady_clock::now();
  repeat(sessions, [&](int) {
    const auto server = log_in(port, tls);
    MessageReader messages(*server);
    query_once(*server, messages);
    server->write_all(message('X', ""));
  });
  std::printf("sessions %d seconds %.6f\n", sessions, seconds_since(begin));
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  std::signal(SIGPIPE, SIG_IGN);
  const std::string_view role = count > 1 ? arguments[1] : "";
  if (role == "serve" && (count == 4 || count == 5))
    return serve(arguments[2], arguments[3], count == 5 ? arguments[4] : nullptr);
  if (count == 4 || count == 6 || count == 8) {
    const int port = std::atoi(arguments[2]);
    const int amount = std::atoi(arguments[3]);
    const Tls tls = read_tls(count - 4, arguments + 4);
    if (role == "out" || role == "in") return copy(port, amount, role == "out", tls);
    if (role == "ping") return ping(port, amount, tls);
    if (role == "idle") return idle(port, amount, tls);
    if (role == "connect") return connect_again_and_again(port, amount, tls);
  }
  std::fputs(
      "usage: pump serve CERTIFICATE KEY [FOLDER]\n"
      "       pump out|in|ping|idle|connect PORT AMOUNT [postgres|direct CA [CERTIFICATE KEY]]\n",
      stderr);
  return 64;
}
