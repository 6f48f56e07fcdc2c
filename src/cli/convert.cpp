#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "base/file.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/streams.h"
#include "checkpoint/model_files.h"
#include "checkpoint/quantized_weights.h"
#include "cli/command.h"
#include "cli/model.h"
#include "engine/weights.h"

namespace gondola::cli {
namespace {

namespace fs = std::filesystem;

struct ConvertOptions {
  fs::path out;
  std::string layout = "hf";
  std::string dtype = "fp32";
};

const std::map<std::string, DType> types = {
    {"fp32", DType::float32}, {"fp16", DType::float16}, {"bf16", DType::bfloat16}};

void run(const GlobalOptions& global, const ConvertOptions& options) {
  require_new_folder(options.out);
  catch_interrupts();
  ModelFiles model = load_files(global);
  if (is_quantized(model.weights)) print_error("gondola: the model's int8 weights are written as {}", options.dtype);
  model.weights = dequantize(model.weights);
  check_weights(model.config, model.weights);
  std::unique_ptr<ClipTokenizer> tokenizer;
  if (model.vocabulary) {
    tokenizer = std::make_unique<ClipTokenizer>(load_tokenizer(model));
  } else {
    print_error("gondola: no vocabulary found beside the model, so none is written (--vocab names one)");
  }
  model.family = options.layout == "hf" ? Family::hugging_face : Family::open_clip;
  stop_if_interrupted();
  write_model_folder(options.out, model, tokenizer.get(), types.at(options.dtype));
  global.json ? print_json_line({{"model", options.out.string()}}) : print_line("{}", options.out.string());
}

}  // namespace

void add_convert(CLI::App& app, const GlobalOptions& global, int& /*status*/) {
  auto options = std::make_shared<ConvertOptions>();
  CLI::App* command = app.add_subcommand("convert", "Convert a model to another layout");
  command->add_option("--out", options->out, "folder to write to, new or empty")->required();
  command
      ->add_option("--to", options->layout,
                   "hf (transformers' CLIPModel; ViTs only; the crop may shift by a pixel, transparency becomes white) "
                   "or open_clip")
      ->check(CLI::IsMember({"hf", "open_clip"}))
      ->capture_default_str();
  command->add_option("--dtype", options->dtype, "data type of the stored weights")
      ->check(CLI::IsMember({"fp32", "fp16", "bf16"}))
      ->capture_default_str();
  command->footer("Example: gondola convert ViT-B-32.pt --to hf --out clip-vit-base-patch32");
  command->callback([options, &global] { run(global, *options); });
}

}  // namespace gondola::cli
