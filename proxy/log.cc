#include "proxy/log.h"

#include <spdlog/async.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>

namespace pgveil::proxy {
namespace {

constexpr std::size_t kQueuedLines = 8192;

bool writes_json = false;

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return spdlog::level::debug;
    case LogLevel::info: return spdlog::level::info;
    case LogLevel::warning: return spdlog::level::warn;
    case LogLevel::error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

// The length of the UTF-8 sequence at the front of `text` (RFC 3629); 0 where there is none.
std::size_t utf8_sequence(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t size = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (size == 0 || size > text.size()) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and what lies above U+10FFFF.
  if (first == 0xe0 && byte(1) < 0xa0) return 0;
  if (first == 0xed && byte(1) >= 0xa0) return 0;
  if (first == 0xf0 && byte(1) < 0x90) return 0;
  if (first == 0xf4 && byte(1) >= 0x90) return 0;
  return size;
}

// Quoted and escaped as JSON wants it; good for text as well. Valid UTF-8 stays; a stray byte becomes \u00XX,
// and so does every control byte: nothing that a client sends can write a line of its own.
void append_quoted(std::string& out, std::string_view value) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += '"';
  while (!value.empty()) {
    const std::size_t size = utf8_sequence(value);
    const auto byte = static_cast<unsigned char>(value.front());
    if (size == 0 || byte < 0x20 || byte == 0x7f) {
      out += "\\u00";
      out += kHex[byte >> 4U];
      out += kHex[byte & 0xfU];
    } else {
      if (byte == '"' || byte == '\\') out += '\\';
      out += value.substr(0, size);
    }
    value.remove_prefix(std::max<std::size_t>(size, 1));
  }
  out += '"';
}

bool is_plain(char c) {
  return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '=';
}

}  // namespace

void start_log(const LogConfig& config) {
  writes_json = config.format == LogFormat::json;
  spdlog::init_thread_pool(kQueuedLines, 1);
  auto logger = spdlog::create_async_nb<spdlog::sinks::stderr_sink_mt>("pgveil");
  logger->set_pattern(writes_json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ",%v})" : "%Y-%m-%dT%H:%M:%S.%eZ %L %v",
                      spdlog::pattern_time_type::utc);
  logger->set_level(spdlog_level(config.level));
  logger->flush_on(spdlog::level::debug);
  spdlog::set_default_logger(std::move(logger));
}

void stop_log() {
  spdlog::shutdown();
}

LogLine::LogLine(LogLevel level, std::string_view event)
    : level_(level), wanted_(spdlog::should_log(spdlog_level(level))) {
  if (!wanted_) return;
  if (writes_json) {
    line_ = R"("level":")";
    const auto name = spdlog::level::to_string_view(spdlog_level(level));
    line_.append(name.data(), name.size());
    line_ += R"(","event":)";
    append_quoted(line_, event);
  } else {
    line_ = event;
  }
}

LogLine::~LogLine() {
  if (wanted_) spdlog::log(spdlog_level(level_), "{}", line_);
}

LogLine& LogLine::add(std::string_view key, std::string_view value) {
  if (!wanted_) return *this;
  if (value.empty()) value = "-";
  line_ += writes_json ? ",\"" : " ";
  line_ += key;
  line_ += writes_json ? "\":" : "=";
  if (!writes_json && std::all_of(value.begin(), value.end(), is_plain)) {
    line_ += value;
  } else {
    append_quoted(line_, value);
  }
  return *this;
}

LogLine& LogLine::add(std::string_view key, std::uint64_t value) {
  if (!wanted_) return *this;
  line_ += writes_json ? ",\"" : " ";
  line_ += key;
  line_ += writes_json ? "\":" : "=";
  line_ += std::to_string(value);
  return *this;
}

}  // namespace pgveil::proxy
