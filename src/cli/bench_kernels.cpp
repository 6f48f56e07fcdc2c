#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <utility>

#include "base/cpu.h"
#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "base/streams.h"
#include "cli/bench.h"
#include "cli/model.h"
#include "engine/cpu_encoder.h"
#include "engine/linear.h"
#include "engine/transformer.h"
#include "kernels/attention.h"
#include "kernels/convolution.h"
#include "kernels/kernels.h"

namespace gondola::cli {
namespace {

/// A transformer as the kernels see it: one thread takes `items` items of `tokens` tokens through it at a time.
struct TowerShape : TransformerConfig {
  std::size_t items = 0, tokens = 0, embed_dim = 0;
  std::size_t norms = 0;       ///< of all tokens, in addition to those in the layers
  std::size_t patch_size = 0;  ///< 0 in a text tower

  std::size_t rows() const { return items * tokens; }
  std::size_t head_width() const { return width / heads; }
};

std::size_t size(int value) {
  return static_cast<std::size_t>(value);
}

TowerShape image_shape(const ModelConfig& config, std::size_t items) {
  const ImageTowerConfig& image = config.image;
  return {{image, {}, /*is_causal=*/false},
          items,
          size(image.tokens()),
          size(config.embed_dim),
          image.pre_norm ? 1u : 0u,
          size(image.patch_size)};
}

TowerShape text_shape(const ModelConfig& config) {
  const TextTowerConfig& text = config.text;
  const std::size_t items = std::max<std::size_t>(1, preferred_tokens / size(text.context_length));
  return {{text, {}, text.causal}, items, size(text.context_length), size(config.embed_dim), 0, 0};
}

/// One kind of operation in a pass, as each thread does it.
struct Part {
  std::string name;
  Precision precision = Precision::fp32;
  std::string shape;
  std::size_t calls = 0;
  double operations = 0;  ///< per call; 0 where a share of the processor's peak means nothing
  bool inside_another = false;
};

AlignedFloats noise(std::size_t size) {
  AlignedFloats values(size);
  Random random(1);
  std::generate_n(values.data(), size, [&] { return static_cast<float>(random.uniform(-1, 1)); });
  return values;
}

class KernelBench {
 public:
  KernelBench(const TowerShape& shape, Precision precision, ThreadPool& pool)
      : shape_(shape), precision_(precision), pool_(pool), kernels_(kernels_for(active_isa())) {
    attention_precision_ = attention_precision(kernels_, precision, shape_.head_width());
    patch_precision_ = float_precision(kernels_, precision);
  }

  using Show = std::function<void(const Part& part, const Timing& of_all_calls)>;

  void run(const Show& show) {
    const TowerShape& s = shape_;
    const std::size_t width = s.width, mlp = s.mlp_width, layers = s.layers;
    if (s.patch_size > 0) {
      const std::size_t values = 3 * s.patch_size * s.patch_size;
      gather(show);
      product(show, "patch embedding", patch_precision_, 1, {s.rows(), values, width}, {.residual = true});
    }
    layer_norm(show);
    product(show, "qkv", precision_, layers, {s.rows(), width, 3 * width}, {.out = attention_precision_});
    attend(show);
    softmax(show);
    product(show, "out", precision_, layers, {s.rows(), width, width}, {.residual = true});
    product(show, "fc1", precision_, layers, {s.rows(), width, mlp},
            {.epilogue = epilogue_of(s.activation),
             .out = precision_ == Precision::bf16 ? Precision::bf16 : Precision::fp32});
    product(show, "fc2", precision_, layers, {s.rows(), mlp, width}, {.residual = true});
    convert(show);
    product(show, "projection", Precision::fp32, 1, {s.items, width, s.embed_dim}, {});
  }

 private:
  struct ProductShape {
    std::size_t rows, depth, columns;
  };
  struct ProductOptions {
    Epilogue epilogue = Epilogue::none;
    bool residual = false;
    Precision out = Precision::fp32;
  };

  /// Measures the time in which every thread makes all calls of a pass: body(thread, call).
  void time(const Show& show, const Part& part, const std::function<void(std::size_t, std::size_t)>& body) {
    constexpr double enough = 0.3;
    const auto threads = static_cast<std::size_t>(pool_.threads());
    show(part, time_with_peak(pool_, part.precision, [&] {
           return best_seconds(enough, [&] {
             pool_.parallel_for(threads, [&](std::size_t thread, int) {
               for (std::size_t call = 0; call < part.calls; ++call) body(thread, call);
             });
           });
         }));
  }

  std::vector<AlignedFloats> noise_for_each_thread(std::size_t size) const {
    std::vector<AlignedFloats> all;
    for (int thread = 0; thread < pool_.threads(); ++thread) all.push_back(noise(size));
    return all;
  }

  static OperandBuffer operand_buffer(AlignedFloats& values, std::vector<RowScale>& scales) {
    return {values.data(), scales.data()};
  }

  void product(const Show& show, const char* product_name, Precision precision, std::size_t calls, ProductShape p,
               const ProductOptions& options) {
    const AlignedFloats weight = noise(p.depth * p.columns), bias = noise(p.columns);
    std::vector<Linear> layers;  // each with its own weights, which come from memory, as in the tower
    for (std::size_t call = 0; call < calls; ++call)
      layers.emplace_back(kernels_, precision, std::span(weight.data(), weight.size()),
                          std::span(bias.data(), bias.size()), p.depth, p.columns);
    auto in = noise_for_each_thread(p.rows * p.depth), prepared = noise_for_each_thread(p.rows * p.depth);
    auto out = noise_for_each_thread(p.rows * p.columns);
    std::vector<std::vector<RowScale>> scales(in.size(), std::vector<RowScale>(p.rows * DepthBlocks(p.depth).count()));
    std::vector<Operand> operands;
    for (std::size_t thread = 0; thread < in.size(); ++thread)
      operands.push_back(layers.front().prepare(Team(), p.rows, RowsOut{in[thread].data(), p.depth},
                                                operand_buffer(prepared[thread], scales[thread])));
    const Part part = {
        product_name, layers.front().precision(), fmt::format("{} × {} × {}", p.rows, p.depth, p.columns), calls,
        2.0 * static_cast<double>(p.rows) * static_cast<double>(p.depth) * static_cast<double>(p.columns)};
    time(show, part, [&](std::size_t thread, std::size_t call) {
      const RowsOut written = {out[thread].data(), p.columns, options.out};
      const ConstRows residual = {options.residual ? out[thread].data() : nullptr, p.columns};
      layers[call].apply(Team(), p.rows, operands[thread], written, options.epilogue, residual);
    });
  }

  void gather(const Show& show) {
    const TowerShape& s = shape_;
    const auto side = static_cast<std::size_t>(std::lround(std::sqrt(static_cast<double>(s.tokens - 1))));
    const std::size_t size = side * s.patch_size, values = 3 * s.patch_size * s.patch_size;
    auto pixels = noise_for_each_thread(s.items * 3 * size * size), patches = noise_for_each_thread(s.rows() * values);
    const Part part = {"patches", Precision::fp32, fmt::format("{} × {}", s.rows(), values), 1};
    time(show, part, [&](std::size_t thread, std::size_t) {
      for (std::size_t item = 0; item < s.items; ++item)
        gather_patches({3, size, size, s.patch_size, s.patch_size, 0, pixels[thread].data() + item * 3 * size * size,
                        patches[thread].data() + item * s.tokens * values, values, 0, s.tokens - 1});
    });
  }

  void layer_norm(const Show& show) {
    const TowerShape& s = shape_;
    const AlignedFloats weight = noise(s.width), bias = noise(s.width);
    const LayerNorm norm(kernels_, std::span(weight.data(), s.width), std::span(bias.data(), s.width), 1e-5);
    auto in = noise_for_each_thread(s.rows() * s.width), out = noise_for_each_thread(s.rows() * s.width);
    std::vector<std::vector<RowScale>> scales(in.size(),
                                              std::vector<RowScale>(s.rows() * DepthBlocks(s.width).count()));
    const Part part = {"layer norm", precision_, fmt::format("{} × {}", s.rows(), s.width), 2 * s.layers + s.norms};
    time(show, part, [&](std::size_t thread, std::size_t) {
      norm.apply(Team(), s.rows(), RowsOut{in[thread].data(), s.width},
                 operand_buffer(out[thread], scales[thread]).rows(precision_, s.width));
    });
  }

  void attend(const Show& show) {
    const TowerShape& s = shape_;
    const std::size_t head_width = s.head_width(), values = s.rows() * 3 * s.width;
    auto in = noise_for_each_thread(values), wide = noise_for_each_thread(values);
    auto out = noise_for_each_thread(s.rows() * s.width);
    auto scratch = noise_for_each_thread(attention_scratch_size(kernels_, s.tokens, head_width));
    for (std::size_t thread = 0; thread < in.size(); ++thread)
      if (attention_precision_ == Precision::bf16)
        kernels_.convert({s.rows(),
                          3 * s.width,
                          in[thread].data(),
                          3 * s.width,
                          {wide[thread].data(), 3 * s.width, attention_precision_}});
    const double pairs = static_cast<double>(s.tokens * s.tokens * s.width * s.items);
    const Part part = {"attention", attention_precision_,
                       fmt::format("{} × {} × {}, {} heads", s.tokens, s.tokens, head_width, s.items * s.heads),
                       s.layers, 4 * pairs};
    time(show, part, [&](std::size_t thread, std::size_t) {
      for (std::size_t item = 0; item < s.items; ++item) {
        for (std::size_t head = 0; head < s.heads; ++head) {
          const RowsOut rows = RowsOut{wide[thread].data(), 3 * s.width, attention_precision_}
                                   .from(item * s.tokens)
                                   .column(head * head_width);
          AttentionArguments a;
          a.queries = a.keys = s.tokens;
          a.head_width = head_width;
          a.precision = attention_precision_;
          a.q = rows.data;
          a.q_stride = a.kv_stride = 3 * s.width;
          a.k = rows.column(s.width).data;
          a.v = rows.column(2 * s.width).data;
          a.causal = s.causal;
          a.visible_to_first = 1;
          a.out = RowsOut{out[thread].data() + item * s.tokens * s.width, s.width}.column(head * head_width);
          a.scratch = scratch[thread].data();
          attention(kernels_, a);
        }
      }
    });
  }

  void softmax(const Show& show) {
    const TowerShape& s = shape_;
    const std::size_t columns = padded_columns(s.tokens, kernels_.panel_width);
    auto scores = noise_for_each_thread(s.tokens * columns), out = noise_for_each_thread(s.tokens * columns);
    Part part = {"softmax", attention_precision_,
                 fmt::format("{} × {}, {} times", s.tokens, s.tokens, s.items * s.heads), s.layers};
    part.inside_another = true;
    time(show, part, [&](std::size_t thread, std::size_t) {
      for (std::size_t i = 0; i < s.items * s.heads; ++i)
        kernels_.softmax({scores[thread].data(),
                          columns,
                          s.tokens,
                          s.tokens,
                          columns,
                          s.causal,
                          1,
                          {out[thread].data(), columns, attention_precision_}});
    });
  }

  /// Converts to the precision that `out` and `fc2` read, where the operation before them does not write it.
  void convert(const Show& show) {
    if (precision_ != Precision::int8) return;
    const TowerShape& s = shape_;
    auto in = noise_for_each_thread(s.rows() * s.mlp_width), out = noise_for_each_thread(s.rows() * s.mlp_width);
    std::vector<std::vector<RowScale>> scales(in.size(),
                                              std::vector<RowScale>(s.rows() * DepthBlocks(s.mlp_width).count()));
    const Part part = {"conversion", precision_, fmt::format("{} × ({} + {})", s.rows(), s.width, s.mlp_width),
                       s.layers};
    time(show, part, [&](std::size_t thread, std::size_t) {
      for (std::size_t width : {s.width, s.mlp_width})
        kernels_.convert({s.rows(), width, in[thread].data(), width,
                          operand_buffer(out[thread], scales[thread]).rows(precision_, width)});
    });
  }

  TowerShape shape_;
  Precision precision_, attention_precision_ = Precision::fp32, patch_precision_ = Precision::fp32;
  ThreadPool& pool_;
  const Kernels& kernels_;
};

/// Prints the parts next to the whole pass.
class PartPrinter {
 public:
  PartPrinter(bool json, std::string tower, int threads, Timing pass)
      : json_(json), tower_(std::move(tower)), threads_(threads), pass_(pass) {}

  void print_header(const TowerShape& shape, Precision precision) const {
    if (json_) return;
    fmt::print("{} tower, {}, {}, {} threads, each with {} items of {} tokens\n", tower_, name(precision),
               name(active_isa()), threads_, shape.items, shape.tokens);
    fmt::print("{:<16} {:<5} {:<26} {:>5} {:>8} {:>8} {:>8} {:>8}\n", "part", "", "shape", "calls", "ms", "of pass",
               "GFLOP/s", "of peak");
  }

  void print(const Part& part, const Timing& measured) const {
    const double rate = static_cast<double>(part.calls) * threads_ * part.operations / measured.seconds;
    json_ ? print_json(part, measured, rate) : print_text(part, measured, rate);
  }

 private:
  static constexpr double giga = 1e9, milli = 1e-3;

  void print_json(const Part& part, const Timing& measured, double rate) const {
    nlohmann::ordered_json line = {{"part", part.name},
                                   {"tower", tower_},
                                   {"precision", name(part.precision)},
                                   {"isa", name(active_isa())},
                                   {"threads", threads_},
                                   {"shape", part.shape},
                                   {"calls", part.calls},
                                   {"milliseconds", measured.seconds / milli},
                                   {"pass_fraction", measured.seconds / pass_.seconds}};
    if (rate > 0) line.update({{"gflops", rate / giga}, {"peak_fraction", rate / measured.peak}});
    print_json_line(line);
  }

  void print_text(const Part& part, const Timing& measured, double rate) const {
    fmt::print("{:<16} {:<5} {:<26} {:>5} {:>8.3f} {:>7.1f}%", part.inside_another ? "  " + part.name : part.name,
               name(part.precision), part.shape, part.calls, measured.seconds / milli,
               100 * measured.seconds / pass_.seconds);
    if (rate > 0) fmt::print(" {:>8.0f} {:>7.0f}%", rate / giga, 100 * rate / measured.peak);
    fmt::print("\n");
  }

  bool json_;
  std::string tower_;
  int threads_;
  Timing pass_;
};

}  // namespace

int bench_kernels(const GlobalOptions& global, const BenchOptions& options) {
  const ModelFiles files = load_files(global);
  const bool image = options.tower == "image";
  if (image && files.config.image.architecture != ImageArchitecture::vit)
    fail("--kernels: the image tower of {} is a ModifiedResNet, expected a ViT; --tower text has a transformer",
         files.config.name);
  const Precision precision = tower_precision(global, files, options.tower);
  ThreadPool pool(global.threads);
  TowerBench tower(files, options.tower, global.device, precision, true, pool);
  const TowerShape shape =
      image ? image_shape(files.config, tower.encoder().preferred_batch_size()) : text_shape(files.config);
  const std::size_t batch = shape.items * static_cast<std::size_t>(pool.threads());
  const Timing pass = time_with_peak(pool, precision, [&] { return tower.seconds(batch); });

  const PartPrinter printer(global.json, options.tower, pool.threads(), pass);
  printer.print_header(shape, precision);
  double sum = 0;
  KernelBench(shape, precision, pool).run([&](const Part& part, const Timing& measured) {
    if (!part.inside_another) sum += measured.seconds;
    printer.print(part, measured);
  });
  printer.print({"sum of parts", precision, "", 1}, {sum, pass.peak});
  const double operations = tower.operations() * static_cast<double>(shape.items);
  printer.print({"whole pass", precision, fmt::format("batch {}", batch), 1, operations}, pass);
  return 0;
}

}  // namespace gondola::cli
