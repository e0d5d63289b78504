#include "proxy/base/resolver.h"

#include <ares.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <new>

namespace pgveil::proxy {
namespace {

// glibc's limits (resolv.h: RES_MAXRETRANS, RES_MAXRETRY).
constexpr int kMaxTimeoutSeconds = 30;
constexpr int kMaxAttempts = 5;

std::string_view take_word(std::string_view& text) {
  constexpr std::string_view kBlanks = " \t\r";
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  const std::string_view word = text.substr(0, text.find_first_of(kBlanks));
  text.remove_prefix(word.size());
  return word;
}

std::optional<int> value_of(std::string_view word, std::string_view option, int most) {
  if (!word.starts_with(option)) return std::nullopt;
  word.remove_prefix(option.size());
  int value = 0;
  if (std::from_chars(word.data(), word.data() + word.size(), value).ec != std::errc()) return std::nullopt;
  return std::clamp(value, 1, most);
}

void read_options(std::string_view options, LookupPatience& patience) {
  for (auto word = take_word(options); !word.empty(); word = take_word(options)) {
    if (const auto seconds = value_of(word, "timeout:", kMaxTimeoutSeconds))
      patience.timeout = std::chrono::seconds(*seconds);
    if (const auto attempts = value_of(word, "attempts:", kMaxAttempts)) patience.attempts = *attempts;
  }
}

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct FreeAddresses {
  void operator()(ares_addrinfo* result) const noexcept { ares_freeaddrinfo(result); }
};

std::vector<KernelAddress> addresses_in(const ares_addrinfo& result) {
  std::vector<KernelAddress> addresses;
  for (const auto* node = result.nodes; node != nullptr; node = node->ai_next)
    addresses.push_back(kernel_address(node->ai_addr, static_cast<socklen_t>(node->ai_addrlen)));
  return addresses;
}

// Returns an answer with an error text that is short enough to need no allocation.
Resolver::Answer without_memory() {
  return {.addresses = {}, .name = {}, .error = ares_strerror(ARES_ENOMEM)};
}

}  // namespace

LookupPatience lookup_patience(std::string_view resolv_conf, std::string_view res_options) {
  LookupPatience patience;
  while (!resolv_conf.empty()) {
    std::string_view line = resolv_conf.substr(0, resolv_conf.find('\n'));
    resolv_conf.remove_prefix(std::min(line.size() + 1, resolv_conf.size()));
    if (take_word(line) == "options") read_options(line, patience);
  }
  read_options(res_options, patience);
  return patience;
}

// One look-up and the requests that wait for it. Each attempt asks every name server once and uses a new
// channel, so that it can be cancelled, uses another source port, and reads the present content of the files.
class Resolver::Lookup {
 public:
  Lookup(Resolver& resolver, Key key, const KernelAddress& address)
      : resolver_(resolver), key_(std::move(key)), address_(address), timer_(new uv_timer_t) {
    uv_timer_init(resolver_.loop_, timer_.get());
    timer_->data = this;
    waiting_.reserve(1);  // so that the first request can join without an allocation
  }
  ~Lookup() {
    if (done_) count();
    close_channel();
  }
  Lookup(const Lookup&) = delete;
  Lookup& operator=(const Lookup&) = delete;

  // Begins the look-up. Returns true if it has its answer already.
  [[nodiscard]] bool start() {
    begin_attempt();
    if (!done_) set_timer();
    return done_;
  }
  [[nodiscard]] Answer take_answer() {
    has_failed_ = !answer_.error.empty();
    return std::move(answer_);
  }

  // `attempts`: the number of attempts that have timed out for the request; -1 if the running attempt must not count.
  void join(Request& request, int attempts) {
    waiting_.push_back(&request);
    request.lookup_ = this;
    request.attempts_ = attempts;
  }
  void leave(const Request& request) {
    waiting_.erase(std::find(waiting_.begin(), waiting_.end(), &request));
    if (waiting_.empty() && !is_answering_) forget();
  }

 private:
  // A socket of c-ares that the loop watches.
  struct Watch {
    Lookup* lookup;
    ares_socket_t socket;
    int events = 0;
    Handle<uv_poll_t> poll;
  };

  void begin_attempt();
  void count();
  void ask();
  void forget() { resolver_.lookups_.erase(resolver_.lookups_.find(key_)); }  // destroys this
  void close_channel();
  void process(ares_socket_t readable, ares_socket_t writable);
  void settle();
  void answer_waiting();
  void set_timer();
  void watch(ares_socket_t socket, int events);
  void note(int status);

  static void on_state(void* self, ares_socket_t socket, int readable, int writable);
  static void on_addresses(void* self, int status, int timeouts, ares_addrinfo* result);
  static void on_name(void* self, int status, int timeouts, char* node, char* service);
  static void on_poll(uv_poll_t* poll, int status, int events);

  Resolver& resolver_;
  const Key key_;
  const KernelAddress address_;
  ares_channel channel_ = nullptr;
  std::map<ares_socket_t, std::unique_ptr<Watch>> watches_;
  Handle<uv_timer_t> timer_;
  int attempts_ = 1;   // number of timeouts after which a request fails
  bool done_ = false;  // the running attempt has ended
  bool timed_out_ = false;
  bool has_failed_ = false;  // of an answer that was taken
  const std::uint64_t began_ = uv_hrtime();
  bool is_answering_ = false;
  Answer answer_;
  std::vector<Request*> waiting_;
};

void Resolver::Lookup::count() {
  Counts& counts = resolver_.counts_;
  const bool has_failed = has_failed_ || timed_out_ || !answer_.error.empty();
  (has_failed ? counts.failed : counts.succeeded).fetch_add(1, std::memory_order_relaxed);
  counts.nanoseconds.fetch_add(uv_hrtime() - began_, std::memory_order_relaxed);
}

void Resolver::Lookup::begin_attempt() {
  close_channel();
  done_ = timed_out_ = false;
  try {
    ask();
  } catch (const std::bad_alloc&) {
    note(ARES_ENOMEM);
  }
}

void Resolver::Lookup::ask() {
  const Settings& settings = resolver_.settings_;
  const char* variable = std::getenv("RES_OPTIONS");
  const auto patience =
      lookup_patience(content_of(settings.resolv_conf), variable == nullptr ? "" : variable);
  attempts_ = patience.attempts;

  std::string resolv_conf = settings.resolv_conf;  // c-ares copies it, but its parameter is not const
  ares_options options{};
  options.timeout = static_cast<int>(patience.timeout.count());
  options.tries = 1;
  options.udp_port = options.tcp_port = settings.port;
  options.resolvconf_path = resolv_conf.data();
  options.sock_state_cb = on_state;
  options.sock_state_cb_data = this;
  const int status = ares_init_options(&channel_, &options,
                                       ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_UDP_PORT |
                                           ARES_OPT_TCP_PORT | ARES_OPT_RESOLVCONF | ARES_OPT_SOCK_STATE_CB);
  if (status != ARES_SUCCESS) {
    channel_ = nullptr;
    return note(status);
  }
  if (key_.first) {
    ares_getnameinfo(channel_, address_.get(), static_cast<ares_socklen_t>(address_.size),
                     ARES_NI_LOOKUPHOST | ARES_NI_NAMEREQD, on_name, this);
  } else {
    ares_addrinfo_hints hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    ares_getaddrinfo(channel_, key_.second.c_str(), nullptr, &hints, on_addresses, this);
  }
}

void Resolver::Lookup::close_channel() {
  if (channel_ != nullptr) ares_destroy(std::exchange(channel_, nullptr));
  watches_.clear();
  uv_timer_stop(timer_.get());
}

// Calls settle() only after the functions of c-ares have returned: it may destroy the channel and this object.
void Resolver::Lookup::process(ares_socket_t readable, ares_socket_t writable) {
  ares_process_fd(channel_, readable, writable);
  settle();
}

void Resolver::Lookup::settle() {
  while (done_) {
    if (!timed_out_) {
      // A request that is made from now on starts a new look-up.
      const auto self = resolver_.lookups_.extract(key_);
      return answer_waiting();
    }
    for (Request* request : waiting_) ++request->attempts_;
    answer_waiting();
    if (waiting_.empty()) return forget();
    begin_attempt();
  }
  set_timer();
}

// Wakes the requests that have their answer. After a timeout, only requests that have waited for enough attempts
// fail: a request that was made later has not waited long enough. A woken waiter may destroy other requests.
void Resolver::Lookup::answer_waiting() {
  is_answering_ = true;
  const auto is_due = [this](const Request* request) {
    return !timed_out_ || request->attempts_ >= attempts_;
  };
  for (auto due = std::find_if(waiting_.begin(), waiting_.end(), is_due); due != waiting_.end();
       due = std::find_if(waiting_.begin(), waiting_.end(), is_due)) {
    Request& request = **due;
    waiting_.erase(due);
    request.lookup_ = nullptr;
    try {
      request.answer_ = answer_;
    } catch (const std::bad_alloc&) {
      request.answer_ = without_memory();
    }
    request.waiter_.wake();
  }
  is_answering_ = false;
}

void Resolver::Lookup::set_timer() {
  timeval room{};
  const timeval* left = ares_timeout(channel_, nullptr, &room);
  if (left == nullptr) return;
  // The conversion to milliseconds rounds down, so one is added; otherwise the timer would be too early for c-ares.
  const auto delay =
      static_cast<std::uint64_t>(left->tv_sec) * 1000 + static_cast<std::uint64_t>(left->tv_usec) / 1000 + 1;
  uv_timer_start(
      timer_.get(),
      [](uv_timer_t* timer) { static_cast<Lookup*>(timer->data)->process(ARES_SOCKET_BAD, ARES_SOCKET_BAD); },
      delay, 0);
}

// Begins, changes or ends the watch of a socket. If a socket cannot be watched, the attempt ends by its timeout.
void Resolver::Lookup::watch(ares_socket_t socket, int events) {
  if (events == 0) {
    watches_.erase(socket);  // before c-ares closes it
    return;
  }
  auto& watch = watches_[socket];
  if (!watch) {
    watch = std::make_unique<Watch>(Watch{.lookup = this, .socket = socket, .events = 0, .poll = nullptr});
    auto poll = std::make_unique<uv_poll_t>();  // the last allocation: an initialized handle must be closed
    if (uv_poll_init(resolver_.loop_, poll.get(), socket) != 0) {
      watches_.erase(socket);
      return;
    }
    poll->data = watch.get();
    watch->poll.reset(poll.release());
  }
  watch->events = events;
  uv_poll_start(watch->poll.get(), events, on_poll);
}

void Resolver::Lookup::note(int status) {
  done_ = true;
  timed_out_ = status == ARES_ETIMEOUT;
  if (status == ARES_SUCCESS) return;
  try {
    answer_.error = ares_strerror(status);
  } catch (const std::bad_alloc&) {
    answer_ = without_memory();
  }
}

// c-ares calls the next three functions. No exception may pass through its functions.

void Resolver::Lookup::on_state(void* self, ares_socket_t socket, int readable, int writable) {
  try {
    static_cast<Lookup*>(self)->watch(socket,
                                      (readable != 0 ? UV_READABLE : 0) | (writable != 0 ? UV_WRITABLE : 0));
  } catch (const std::bad_alloc&) {
    static_cast<Lookup*>(self)->watches_.erase(socket);
    static_cast<Lookup*>(self)->note(ARES_ENOMEM);
  }
}

void Resolver::Lookup::on_addresses(void* self, int status, int /*timeouts*/, ares_addrinfo* result) {
  auto& lookup = *static_cast<Lookup*>(self);
  if (status == ARES_EDESTRUCTION) return;
  const std::unique_ptr<ares_addrinfo, FreeAddresses> owned(result);
  try {
    if (status == ARES_SUCCESS)
      lookup.answer_ = {.addresses = addresses_in(*result), .name = {}, .error = {}};
  } catch (const std::bad_alloc&) {
    status = ARES_ENOMEM;
  }
  if (status == ARES_SUCCESS && lookup.answer_.addresses.empty()) status = ARES_ENODATA;
  lookup.note(status);
}

void Resolver::Lookup::on_name(void* self, int status, int timeouts, char* node, char* /*service*/) {
  auto& lookup = *static_cast<Lookup*>(self);
  if (status == ARES_EDESTRUCTION) return;
  // After a timeout, c-ares 1.18 looks into the hosts file, and then reports that there is no name.
  if (status == ARES_ENOTFOUND && timeouts > 0) status = ARES_ETIMEOUT;
  try {
    if (status == ARES_SUCCESS)
      lookup.answer_ = {.addresses = {}, .name = node == nullptr ? "" : node, .error = {}};
  } catch (const std::bad_alloc&) {
    status = ARES_ENOMEM;
  }
  if (status == ARES_SUCCESS && lookup.answer_.name.empty()) status = ARES_ENOTFOUND;
  lookup.note(status);
}

// After an error libuv has stopped the watch, so it is started again. c-ares finds the error itself when it uses the
// socket, and in most cases closes it.
void Resolver::Lookup::on_poll(uv_poll_t* poll, int status, int events) {
  const auto& watch = *static_cast<Watch*>(poll->data);
  if (status < 0) {
    events = watch.events;
    uv_poll_start(poll, watch.events, on_poll);
  }
  watch.lookup->process((events & UV_READABLE) != 0 ? watch.socket : ARES_SOCKET_BAD,
                        (events & UV_WRITABLE) != 0 ? watch.socket : ARES_SOCKET_BAD);
}

Resolver::Resolver(uv_loop_t* loop, Settings settings) : loop_(loop), settings_(std::move(settings)) {
  static const int initialized = ares_library_init(ARES_LIB_INIT_ALL);
  static_cast<void>(initialized);
}

Resolver::~Resolver() = default;

std::unique_ptr<Resolver::Request> Resolver::addresses_of(const std::string& name, Wakeable& waiter) {
  return request({false, name}, {}, waiter);
}

std::unique_ptr<Resolver::Request> Resolver::name_of(const KernelAddress& address, Wakeable& waiter) {
  KernelAddress host = address;  // without its port, so that requests for one host share a look-up
  if (host.family() == AF_INET) reinterpret_cast<sockaddr_in*>(host.get())->sin_port = 0;
  if (host.family() == AF_INET6) reinterpret_cast<sockaddr_in6*>(host.get())->sin6_port = 0;
  return request({true, host.text()}, host, waiter);
}

std::unique_ptr<Resolver::Request> Resolver::request(Key key, const KernelAddress& address,
                                                     Wakeable& waiter) {
  std::unique_ptr<Request> request(new Request(waiter));
  auto place = lookups_.find(key);
  const bool is_new = place == lookups_.end();
  if (is_new) {
    auto lookup = std::make_unique<Lookup>(*this, key, address);
    place = lookups_.emplace(std::move(key), std::move(lookup)).first;
    if (place->second->start()) {
      request->answer_ = place->second->take_answer();
      lookups_.erase(place);
      return request;
    }
  }
  place->second->join(*request, is_new ? 0 : -1);
  return request;
}

Resolver::Request::~Request() {
  if (lookup_ != nullptr) lookup_->leave(*this);
}

}  // namespace pgveil::proxy
