#include "proxy/session/traffic.h"

namespace pgveil::proxy {
namespace {

void add(Traffic::Direction& sum, const Traffic::Direction& other) {
  sum.bytes += other.bytes;
  sum.messages += other.messages;
  sum.paused += other.paused;
}

void add(WireBytes& sum, const WireBytes& other) {
  sum.received += other.received;
  sum.sent += other.sent;
}

}  // namespace

Traffic& Traffic::operator+=(const Traffic& other) {
  add(to_client, other.to_client);
  add(to_server, other.to_server);
  add(client_leg, other.client_leg);
  add(server_leg, other.server_leg);
  return *this;
}

void TrafficCounters::add(const Traffic& traffic) {
  const auto add_direction = [](Direction& sum, const Traffic::Direction& other) {
    sum.bytes.add(other.bytes);
    sum.messages.add(other.messages);
    sum.paused.add(static_cast<std::uint64_t>(other.paused.count()));
  };
  const auto add_leg = [](Leg& sum, const WireBytes& other) {
    sum.received.add(other.received);
    sum.sent.add(other.sent);
  };
  add_direction(to_client_, traffic.to_client);
  add_direction(to_server_, traffic.to_server);
  add_leg(client_leg_, traffic.client_leg);
  add_leg(server_leg_, traffic.server_leg);
}

Traffic TrafficCounters::value() const {
  const auto direction = [](const Direction& of) {
    return Traffic::Direction{.bytes = of.bytes.value(),
                              .messages = of.messages.value(),
                              .paused = std::chrono::nanoseconds(of.paused.value())};
  };
  const auto leg = [](const Leg& of) {
    return WireBytes{.received = of.received.value(), .sent = of.sent.value()};
  };
  return {.to_client = direction(to_client_),
          .to_server = direction(to_server_),
          .client_leg = leg(client_leg_),
          .server_leg = leg(server_leg_)};
}

}  // namespace pgveil::proxy
