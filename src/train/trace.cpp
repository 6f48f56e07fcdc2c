#include "train/trace.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/json.h"

namespace gondola {
namespace {

double microseconds(Trace::Clock::duration time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

}  // namespace

// The format's array need not be closed, so ranks can append events for as long as they live.
Trace::Trace(const std::filesystem::path& file, int rank)
    : path_(file),
      rank_(rank),
      descriptor_(::open(file.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | (rank == 0 ? O_CREAT | O_TRUNC : 0), 0644)) {
  if (descriptor_ < 0) fail("{}: cannot be written: {}", path_.string(), std::strerror(errno));
  const auto name = [&](const char* kind, int row, const std::string& text) {
    return to_json_line({{"name", kind}, {"ph", "M"}, {"pid", rank}, {"tid", row}, {"args", {{"name", text}}}}) + ",\n";
  };
  if (!append((rank == 0 ? "[\n" : "") + name("process_name", 0, fmt::format("rank {}", rank)) +
              name("thread_name", static_cast<int>(Row::arithmetic), "arithmetic") +
              name("thread_name", static_cast<int>(Row::network), "network")))
    fail("{}: cannot be written: {}", path_.string(), std::strerror(errno));
}

Trace::~Trace() {
  ::close(descriptor_);
}

void Trace::record(const std::string& name, Row row, Clock::time_point begin, Clock::time_point end) {
  append(to_json_line({{"name", name},
                       {"ph", "X"},
                       {"pid", rank_},
                       {"tid", static_cast<int>(row)},
                       {"ts", microseconds(begin.time_since_epoch())},
                       {"dur", microseconds(end - begin)}}) +
         ",\n");
}

/// Writes in one call, so that nothing from other ranks or threads can come in between.
bool Trace::append(const std::string& text) {
  return ::write(descriptor_, text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

}  // namespace gondola
