#include "tests/kernels/amx_emulator.h"

#include <signal.h>
#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/half.h"

// Encodings and operations: Intel SDM, volume 2, and volume 1, chapter 18.
namespace gondola::test {
namespace {

constexpr int most_rows = 16, most_bytes = 64, tile_count = 8;

[[noreturn]] void refuse(const char* what) {
  std::fprintf(stderr, "emulated AMX: %s\n", what);
  std::abort();
}

void require(bool condition, const char* what) {
  if (!condition) refuse(what);
}

struct Tile {
  int rows = 0, row_bytes = 0;
  std::uint8_t bytes[most_rows][most_bytes] = {};

  template <class Value>
  Value at(int row, int index) const {
    Value value;
    std::memcpy(&value, bytes[row] + static_cast<std::size_t>(index) * sizeof value, sizeof value);
    return value;
  }
  template <class Value>
  void set(int row, int index, Value value) {
    std::memcpy(bytes[row] + static_cast<std::size_t>(index) * sizeof value, &value, sizeof value);
  }
  void zero() { std::memset(bytes, 0, sizeof bytes); }
};

struct TileRegisters {
  std::uint8_t configuration[64] = {};
  Tile tiles[tile_count];

  void configure(const std::uint8_t* memory) {
    *this = {};
    std::memcpy(configuration, memory, sizeof configuration);
    require(configuration[0] == 1 && configuration[1] == 0, "a configuration of another palette");
    for (int i = 2; i < 16; ++i) require(configuration[i] == 0, "reserved bytes of the configuration");
    for (int i = 0; i < 16; ++i) {
      std::uint16_t row_bytes;
      std::memcpy(&row_bytes, configuration + 16 + 2 * i, sizeof row_bytes);
      const int rows = configuration[48 + i];
      require(row_bytes <= most_bytes && rows <= most_rows && (rows == 0) == (row_bytes == 0), "the size of a tile");
      if (i >= tile_count) {
        require(rows == 0, "a tile beyond the eighth");
        continue;
      }
      tiles[i].rows = rows;
      tiles[i].row_bytes = row_bytes;
    }
  }

  Tile& configured(int tile) {
    require(tiles[tile].rows > 0, "a tile without a configuration");
    return tiles[tile];
  }

  /// Adds to each element (m, n) of the tile `sums` what add(sum, a, m, b, n, k) sums over the groups k.
  template <class Sum, class Add>
  void multiply(int sums, int left, int right, const Add& add) {
    Tile& c = configured(sums);
    const Tile &a = configured(left), &b = configured(right);
    require(sums != left && sums != right && left != right, "operands that are not three tiles");
    require(c.rows == a.rows && c.row_bytes == b.row_bytes && a.row_bytes == 4 * b.rows, "tiles that do not match");
    for (int m = 0; m < c.rows; ++m) {
      for (int n = 0; n < c.row_bytes / 4; ++n) {
        Sum sum = 0;
        for (int k = 0; k < b.rows; ++k) add(sum, a, m, b, n, k);
        c.set(m, n, static_cast<Sum>(c.at<Sum>(m, n) + sum));
      }
    }
  }

  void multiply_bf16(int sums, int left, int right) {
    multiply<float>(sums, left, right, [](float& sum, const Tile& a, int m, const Tile& b, int n, int k) {
      for (int i = 0; i < 2; ++i)
        sum += float_from_bfloat16(a.at<std::uint16_t>(m, 2 * k + i)) *
               float_from_bfloat16(b.at<std::uint16_t>(k, 2 * n + i));
    });
  }

  void multiply_bytes(int sums, int left, int right) {
    multiply<std::int32_t>(sums, left, right, [](std::int32_t& sum, const Tile& a, int m, const Tile& b, int n, int k) {
      for (int i = 0; i < 4; ++i)
        sum += std::int32_t{a.at<std::uint8_t>(m, 4 * k + i)} * b.at<std::int8_t>(k, 4 * n + i);
    });
  }
};

thread_local TileRegisters registers;

/// An instruction of opcode map 0F 38, with a three-byte VEX prefix.
class Instruction {
 public:
  explicit Instruction(greg_t* general)
      : general_(general), at_(reinterpret_cast<const std::uint8_t*>(general[REG_RIP])) {
    require(at_[0] == 0xc4 && (at_[1] & 0x1f) == 2 && (at_[2] & 0x84) == 0, "not an instruction of AMX");
  }

  void execute() {
    enum Prefix { none, x66, xf3, xf2 };
    switch (at_[3] << 4 | (at_[2] & 3)) {
      case 0x490 | none:
        if (!in_memory()) {
          registers = {};
        } else {
          registers.configure(memory().start);
        }
        break;
      case 0x490 | x66:
        std::memcpy(memory().start, registers.configuration, sizeof registers.configuration);
        break;
      case 0x490 | xf2:
        registers.configured(reg()).zero();
        break;
      case 0x4b0 | xf2: {
        Tile& tile = registers.configured(reg());
        const Memory rows = memory();
        tile.zero();
        for (int r = 0; r < tile.rows; ++r)
          std::memcpy(tile.bytes[r], rows.start + r * rows.stride, static_cast<std::size_t>(tile.row_bytes));
        break;
      }
      case 0x4b0 | xf3: {
        const Tile& tile = registers.configured(reg());
        const Memory rows = memory();
        for (int r = 0; r < tile.rows; ++r)
          std::memcpy(rows.start + r * rows.stride, tile.bytes[r], static_cast<std::size_t>(tile.row_bytes));
        break;
      }
      case 0x5c0 | xf3:
        registers.multiply_bf16(reg(), at_[4] & 7, ~at_[2] >> 3 & 7);
        break;
      case 0x5e0 | x66:
        registers.multiply_bytes(reg(), at_[4] & 7, ~at_[2] >> 3 & 7);
        break;
      default:
        refuse("an unknown instruction");
    }
    general_[REG_RIP] += 5 + (in_memory() ? address_bytes() : 0);
  }

 private:
  struct Memory {
    std::uint8_t* start;
    std::ptrdiff_t stride;
  };

  int reg() const { return at_[4] >> 3 & 7; }
  int mod() const { return at_[4] >> 6; }
  bool in_memory() const { return mod() != 3; }
  bool has_sib() const { return (at_[4] & 7) == 4; }
  int displacement_bytes() const { return mod() == 1 ? 1 : mod() == 2 ? 4 : 0; }
  int address_bytes() const { return (has_sib() ? 1 : 0) + displacement_bytes(); }

  greg_t general(int number) const {
    constexpr int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                               REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return general_[order[number]];
  }

  Memory memory() const {
    const bool sib = has_sib();
    const int base = sib ? at_[5] & 7 : at_[4] & 7;
    require(mod() != 0 || base != 5, "an address without a base");
    const std::uint8_t* displacement = at_ + (sib ? 6 : 5);
    std::int32_t offset = 0;
    if (displacement_bytes() == 1) offset = static_cast<std::int8_t>(*displacement);
    if (displacement_bytes() == 4) std::memcpy(&offset, displacement, sizeof offset);
    const int index = sib ? (at_[5] >> 3 & 7) | (~at_[1] >> 6 & 1) << 3 : 4;
    const std::ptrdiff_t stride = index == 4 ? 0 : general(index) << (at_[5] >> 6);
    return {reinterpret_cast<std::uint8_t*>(general(base | (~at_[1] >> 5 & 1) << 3) + offset), stride};
  }

  greg_t* general_;
  const std::uint8_t* at_;
};

void handle(int, siginfo_t*, void* context) {
  Instruction(static_cast<ucontext_t*>(context)->uc_mcontext.gregs).execute();
}

}  // namespace

void emulate_amx() {
  struct sigaction action = {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &action, nullptr);
}

}  // namespace gondola::test
