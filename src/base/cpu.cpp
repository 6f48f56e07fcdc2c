#include "base/cpu.h"

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>

#include "base/environment.h"
#include "base/error.h"

namespace gondola {
namespace {

constexpr std::array<std::string_view, 7> names = {"scalar",     "avx2",       "avx2vnni", "avx512",
                                                   "avx512vnni", "avx512bf16", "amx"};

struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf = 0) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

bool bit(unsigned value, int position) {
  return (value >> position) & 1;
}

/// The state components that the operating system saves (Intel SDM, volume 1, 13.3).
__attribute__((target("xsave"))) std::uint64_t enabled_state() {
  return _xgetbv(0);
}

/// Linux grants access to the AMX tile data on request only (arch/x86/include/uapi/asm/prctl.h).
bool request_tile_permission() {
  constexpr int arch_req_xcomp_perm = 0x1023, xfeature_xtiledata = 18;
  return ::syscall(SYS_arch_prctl, arch_req_xcomp_perm, xfeature_xtiledata) == 0;
}

bool has_avx_vnni() {
  constexpr int avx_vnni = 4;
  return bit(cpuid(7, 1).eax, avx_vnni);
}

bool includes(Isa best, Isa isa) {
  return isa <= best && (isa != Isa::avx2vnni || has_avx_vnni());
}

/// The best that processor and system support; permission to use AMX is yet to be requested.
Isa detect() {
  const Registers basic = cpuid(1);
  constexpr int osxsave = 27, avx = 28, fma = 12, f16c = 29;
  if (!bit(basic.ecx, osxsave) || !bit(basic.ecx, avx)) return Isa::scalar;
  const std::uint64_t state = enabled_state();
  const auto enabled = [&](std::uint64_t mask) { return (state & mask) == mask; };
  constexpr std::uint64_t ymm_state = 0x6, zmm_state = 0xe6, tile_state = 0x60000;

  const Registers extended = cpuid(7), extended1 = cpuid(7, 1);
  constexpr int avx2 = 5;
  if (!enabled(ymm_state) || !bit(extended.ebx, avx2) || !bit(basic.ecx, fma) || !bit(basic.ecx, f16c))
    return Isa::scalar;
  const Isa best_256 = has_avx_vnni() ? Isa::avx2vnni : Isa::avx2;

  constexpr int avx512f = 16, avx512dq = 17, avx512bw = 30, avx512vl = 31;
  for (int feature : {avx512f, avx512dq, avx512bw, avx512vl})
    if (!bit(extended.ebx, feature)) return best_256;
  if (!enabled(zmm_state)) return best_256;
  constexpr int avx512_vnni = 11, avx512_bf16 = 5;
  if (!bit(extended.ecx, avx512_vnni)) return Isa::avx512;
  if (!bit(extended1.eax, avx512_bf16)) return Isa::avx512vnni;
  constexpr int amx_bf16 = 22, amx_tile = 24, amx_int8 = 25;
  for (int feature : {amx_bf16, amx_tile, amx_int8})
    if (!bit(extended.edx, feature)) return Isa::avx512bf16;
  return enabled(tile_state) ? Isa::amx : Isa::avx512bf16;
}

Isa choose() {
  Isa best = detect();
  const auto wanted = environment("GONDOLA_ISA");
  // Requested only if it will be used: a process with this permission needs larger signal stacks.
  if (best == Isa::amx && (wanted.value_or("amx") != "amx" || !request_tile_permission())) best = Isa::avx512bf16;
  if (!wanted) return best;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] != *wanted) continue;
    if (static_cast<Isa>(i) > best) fail("GONDOLA_ISA={}: this machine supports no more than {}", *wanted, name(best));
    if (!includes(best, static_cast<Isa>(i))) fail("GONDOLA_ISA={}: this machine does not support it", *wanted);
    return static_cast<Isa>(i);
  }
  fail("GONDOLA_ISA={}: expected one of {}", *wanted, fmt::join(names, ", "));
}

}  // namespace

std::string_view name(Isa isa) {
  return names[static_cast<std::size_t>(isa)];
}

Isa active_isa() {
  static const Isa isa = choose();
  return isa;
}

bool is_active(Isa isa) {
  return includes(active_isa(), isa);
}

}  // namespace gondola
