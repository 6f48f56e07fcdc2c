#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "tests/train/runs.h"

namespace gondola::test {

/// gondola-train as a process of its own, resuming `run`. `log` gets its stderr.
class Process {
 public:
  Process(const std::filesystem::path& recipe, const std::filesystem::path& run,
          const std::map<std::string, std::string>& environment = {}, const std::string& log = "/dev/null")
      : id_(::fork()) {
    if (id_ != 0) return;
    const std::string program = std::string(GONDOLA_BINARY_DIR) + "/gondola-train";
    for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
    (void)!std::freopen(log.c_str(), "w", stderr);
    ::execl(program.c_str(), program.c_str(), recipe.c_str(), "--out", run.c_str(), "--resume", nullptr);
    ::_exit(127);
  }
  Process(Process&& other) noexcept : id_(std::exchange(other.id_, -1)) {}
  ~Process() {
    if (id_ > 0) ::kill(id_, SIGKILL), wait();
  }

  void send(int signal) { ::kill(id_, signal); }
  /// Its exit status, or minus the signal that ended it.
  int wait() {
    int status = 0;
    ::waitpid(std::exchange(id_, -1), &status, 0);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  pid_t id_;
};

/// A free port outside the ephemeral range, whose ports another connection might take before this one is used.
inline int free_port() {
  for (int port = 20'000 + ::getpid() * 64 % 10'000;; ++port) {  // far from those of a process started just before
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    if (socket < 0) throw std::system_error(errno, std::generic_category(), "socket");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    const bool is_free = ::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    ::close(socket);
    if (is_free) return port;
  }
}

/// gondola-train as several ranks, as torchrun would start them; RUN-rank-R.log gets their stderr.
inline std::vector<Process> launch(const std::filesystem::path& recipe, const std::filesystem::path& run, int ranks) {
  const std::string port = std::to_string(free_port()), size = std::to_string(ranks);
  std::vector<Process> processes;
  for (int rank = 0; rank < ranks; ++rank) {
    const std::string number = std::to_string(rank);
    processes.emplace_back(recipe, run,
                           std::map<std::string, std::string>{{"RANK", number},
                                                              {"WORLD_SIZE", size},
                                                              {"LOCAL_RANK", number},
                                                              {"LOCAL_WORLD_SIZE", size},
                                                              {"MASTER_ADDR", "127.0.0.1"},
                                                              {"MASTER_PORT", port}},
                           run.string() + "-rank-" + number + ".log");
  }
  return processes;
}

/// Waits until the condition holds.
inline void wait_until(const std::string& what, const auto& condition) {
  for (int tries = 0; tries < 6000; ++tries) {
    if (condition()) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  FAIL() << "not within a minute: " << what;
}

/// Waits until the run has written so many lines of metrics. The test may be held up meanwhile and the run end: what
/// needs a run that goes on tries max_tries times.
inline void wait_for_metrics(const std::filesystem::path& run, std::size_t lines) {
  wait_until(std::to_string(lines) + " lines of metrics", [&] {
    return std::filesystem::exists(run / "metrics.jsonl") && read_lines(run / "metrics.jsonl").size() >= lines;
  });
}

constexpr int max_tries = 10;

}  // namespace gondola::test
