#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/half.h"
#include "tests/kernels/kernels_fixture.h"

namespace gondola {
namespace {

using test::random_floats;

class AttentionTest : public test::KernelsTest {};

struct Shape {
  std::size_t queries, keys, head_width;
  bool causal;
  std::size_t visible_to_first;
};

/// Scratch in which everything that is read before it is written shows, as does what is written beyond its end.
class Scratch {
 public:
  explicit Scratch(std::size_t size) : size_(size), floats_(size + guard) {
    std::fill_n(floats_.data(), size, NAN);
    std::fill_n(floats_.data() + size, guard, 9.0f);
  }
  float* data() { return floats_.data(); }
  bool is_intact() const {
    return std::all_of(floats_.data() + size_, floats_.data() + size_ + guard, [](float x) { return x == 9.0f; });
  }

 private:
  static constexpr std::size_t guard = 16;
  std::size_t size_;
  AlignedFloats floats_;
};

TEST_P(AttentionTest, AgreesWithDoublePrecision) {
  Random random(1);
  for (const Shape& s : {Shape{1, 1, 1, false, 0}, Shape{50, 50, 64, false, 0}, Shape{7, 7, 24, true, 1},
                         Shape{77, 77, 64, true, 1}, Shape{1, 20, 64, true, 20}, Shape{130, 197, 80, false, 0},
                         Shape{60, 60, 88, true, 1}, Shape{1, 50, 64, false, 0}, Shape{3, 17, 33, false, 0}}) {
    const std::size_t q_stride = s.head_width + 7, kv_stride = 2 * s.head_width + 1, out_stride = s.head_width + 2;
    const std::vector<float> q = random_floats(s.queries * q_stride, random, 0.4);
    const std::vector<float> kv = random_floats(s.keys * kv_stride, random, 2);
    std::vector<float> out(s.queries * out_stride, 9.0f);
    Scratch scratch(attention_scratch_size(kernels(), s.keys, s.head_width));
    AttentionArguments a;
    a.queries = s.queries;
    a.keys = s.keys;
    a.head_width = s.head_width;
    a.q = q.data();
    a.q_stride = q_stride;
    a.k = kv.data();
    a.v = kv.data() + s.head_width;
    a.kv_stride = kv_stride;
    a.causal = s.causal;
    a.visible_to_first = s.visible_to_first;
    a.out = {out.data(), out_stride};
    a.scratch = scratch.data();
    attention(kernels(), a);
    ASSERT_TRUE(scratch.is_intact());
    for (std::size_t query = 0; query < s.queries; ++query) {
      const std::size_t visible = s.causal ? std::min(s.keys, s.visible_to_first + query) : s.keys;
      std::vector<double> weights(visible);
      double sum = 0;
      for (std::size_t key = 0; key < visible; ++key) {
        double score = 0;
        for (std::size_t i = 0; i < s.head_width; ++i)
          score += double{q[query * q_stride + i]} * kv[key * kv_stride + i];
        sum += weights[key] = std::exp(score);
      }
      for (std::size_t i = 0; i < s.head_width; ++i) {
        double expected = 0;
        for (std::size_t key = 0; key < visible; ++key)
          expected += weights[key] / sum * kv[key * kv_stride + s.head_width + i];
        ASSERT_NEAR(out[query * out_stride + i], expected, 1e-5)
            << s.queries << " queries, " << s.keys << " keys, " << s.head_width << " wide";
      }
      ASSERT_EQ(out[query * out_stride + s.head_width], 9.0f);
    }
  }
}

TEST_P(AttentionTest, RunsInBf16Too) {
  Random random(2);
  for (const Shape& s : {Shape{50, 50, 64, false, 0}, Shape{7, 7, 24, true, 1}, Shape{77, 77, 64, true, 1},
                         Shape{1, 21, 64, true, 21}, Shape{130, 197, 80, false, 0}, Shape{3, 17, 2, false, 0}}) {
    const auto rounded = [&](std::size_t count, double scale, std::vector<float>& values) {
      values = random_floats(count, random, scale);
      std::vector<std::uint16_t> bits(count);
      for (std::size_t i = 0; i < count; ++i) {
        bits[i] = bfloat16_from_float(values[i]);
        values[i] = float_from_bfloat16(bits[i]);
      }
      return bits;
    };
    std::vector<float> q, k, v, out(s.queries * s.head_width);
    const auto q_bits = rounded(s.queries * s.head_width, 0.4, q), k_bits = rounded(s.keys * s.head_width, 2, k),
               v_bits = rounded(s.keys * s.head_width, 2, v);
    Scratch scratch(attention_scratch_size(kernels(), s.keys, s.head_width));
    AttentionArguments a = {.queries = s.queries,
                            .keys = s.keys,
                            .head_width = s.head_width,
                            .precision = Precision::bf16,
                            .q = q_bits.data(),
                            .q_stride = s.head_width,
                            .k = k_bits.data(),
                            .v = v_bits.data(),
                            .kv_stride = s.head_width,
                            .causal = s.causal,
                            .visible_to_first = s.visible_to_first,
                            .out = {out.data(), s.head_width},
                            .scratch = scratch.data()};
    attention(kernels(), a);
    ASSERT_TRUE(scratch.is_intact());
    std::vector<float> expected(out.size());
    a.precision = Precision::fp32;
    a.q = q.data();
    a.k = k.data();
    a.v = v.data();
    a.out.data = expected.data();
    attention(kernels_for(Isa::scalar), a);
    // Probabilities, which add up to 1, are rounded to 8 bits; the values are below 2.
    for (std::size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], expected[i], 2.0 / 256);
  }
}

GONDOLA_FOR_EACH_ISA(AttentionTest);

}  // namespace
}  // namespace gondola
