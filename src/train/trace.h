#pragma once

#include <chrono>
#include <filesystem>
#include <string>

namespace gondola {

/// Records what the ranks of a run do when, as a Chrome trace (chrome://tracing, ui.perfetto.dev): a process for each
/// rank, with a row for its arithmetic and one for the network. All ranks append to one file. Thread-safe.
class Trace {
 public:
  using Clock = std::chrono::system_clock;  // shared by the ranks
  enum class Row { arithmetic, network };

  /// Rank 0 creates the file; the others must open it afterwards.
  Trace(const std::filesystem::path& file, int rank);
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  /// An event that cannot be written is lost: training goes on.
  void record(const std::string& name, Row row, Clock::time_point begin, Clock::time_point end);

  /// Records its own lifetime as arithmetic; `trace` may be null.
  class Span {
   public:
    Span(Trace* trace, const char* name) : trace_(trace), name_(name), begin_(Clock::now()) {}
    ~Span() {
      if (trace_ != nullptr) trace_->record(name_, Row::arithmetic, begin_, Clock::now());
    }
    Span(const Span&) = delete;
    Span& operator=(const Span&) = delete;

   private:
    Trace* trace_;
    const char* name_;
    Clock::time_point begin_;
  };

 private:
  bool append(const std::string& text);

  std::filesystem::path path_;
  int rank_, descriptor_;
};

}  // namespace gondola
