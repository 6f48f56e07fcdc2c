#include "base/cpu.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

namespace gondola {
namespace {

/// The feature flags that the Linux kernel lists for the first processor: those that it has enabled.
std::set<std::string> kernel_flags() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("flags")) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    return {std::istream_iterator<std::string>(words), {}};
  }
  return {};
}

bool has(std::initializer_list<const char*> wanted) {
  static const std::set<std::string> flags = kernel_flags();
  for (const char* flag : wanted)
    if (flags.count(flag) == 0) return false;
  return true;
}

Isa best_by_kernel() {
  if (!has({"avx2", "fma", "f16c"})) return Isa::scalar;
  const Isa best_256 = has({"avx_vnni"}) ? Isa::avx2vnni : Isa::avx2;
  if (!has({"avx512f", "avx512bw", "avx512dq", "avx512vl"})) return best_256;
  if (!has({"avx512_vnni"})) return Isa::avx512;
  if (!has({"avx512_bf16"})) return Isa::avx512vnni;
  return has({"amx_tile", "amx_bf16", "amx_int8"}) ? Isa::amx : Isa::avx512bf16;
}

// The instruction set is chosen once a process, so each case runs in a process of its own.
int chosen_with(const char* name) {
  ::setenv("GONDOLA_ISA", name, 1);
  return static_cast<int>(active_isa());
}

TEST(CpuDeathTest, ChoosesWhatTheKernelHasEnabled) {
  if (kernel_flags().empty()) GTEST_SKIP() << "no flags in /proc/cpuinfo";
  EXPECT_EXIT(std::exit(chosen_with("")), testing::ExitedWithCode(static_cast<int>(best_by_kernel())), "");
}

TEST(CpuDeathTest, CanBeForcedToLess) {
  for (int isa = 0; isa <= static_cast<int>(best_by_kernel()); ++isa) {
    const std::string wanted(name(static_cast<Isa>(isa)));
    if (static_cast<Isa>(isa) == Isa::avx2vnni && !has({"avx_vnni"})) continue;
    EXPECT_EXIT(std::exit(chosen_with(wanted.c_str())), testing::ExitedWithCode(isa), "") << wanted;
  }
}

void refuse(const char* wanted) {
  try {
    chosen_with(wanted);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s", error.what());
    std::exit(7);
  }
}

TEST(CpuDeathTest, RefusesUnknownNames) {
  EXPECT_EXIT(refuse("sse9"), testing::ExitedWithCode(7), "GONDOLA_ISA=sse9: expected one of scalar");
}

TEST(CpuDeathTest, RefusesWhatTheProcessorLacks) {
  if (has({"avx_vnni"})) GTEST_SKIP() << "this processor has AVX-VNNI";
  EXPECT_EXIT(refuse("avx2vnni"), testing::ExitedWithCode(7), "GONDOLA_ISA=avx2vnni: this machine");
}

TEST(Cpu, NamesAreThoseOfTheEnvironmentVariable) {
  EXPECT_EQ(name(Isa::scalar), "scalar");
  EXPECT_EQ(name(Isa::avx512bf16), "avx512bf16");
  EXPECT_EQ(name(Isa::amx), "amx");
}

}  // namespace
}  // namespace gondola
