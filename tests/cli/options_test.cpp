// What the commands' options change; where possible, compared with transformers (tests/reference/cli.py).
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <span>

#include "base/half.h"
#include "checkpoint/model_files.h"
#include "checkpoint/safetensors.h"
#include "tests/cli/program.h"

namespace gondola {
namespace {

using test::Result;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
namespace fs = std::filesystem;

using CommandOptions = test::Program;

/// The scores of transformers, best first.
std::vector<std::pair<double, std::string>> best_first(const Json& scores, const Json& labels) {
  std::vector<std::pair<double, std::string>> best;
  for (std::size_t i = 0; i < labels.size(); ++i)
    best.emplace_back(scores.at(i).get<double>(), labels.at(i).get<std::string>());
  std::sort(best.rbegin(), best.rend());
  return best;
}

TEST_F(CommandOptions, ClassifyShowsTheBestLabelsAboveTheMinimumScore) {
  const Json& set = expected_.at("classify").at(0);
  const auto best = best_first(set.at("scores").at("a.png"), expected_.at("labels"));
  const std::string classify = "classify images/a.png --model model --precision fp32 --json --template '" +
                               set.at("templates").at(0).get<std::string>() + "' --labels '";
  std::string labels;
  for (const auto& [score, label] : best) labels = label + (labels.empty() ? "" : "," + labels);
  const auto shown = [&](const std::string& options) {
    std::vector<std::string> names;
    const Json line = run(classify + labels + options).lines().at(0);
    for (const Json& one : line.at("labels")) names.push_back(one.at("label"));
    return names;
  };
  EXPECT_THAT(shown("'"), SizeIs(5));
  EXPECT_THAT(shown(",bus,owl'"), SizeIs(5)) << "of seven";
  EXPECT_THAT(shown("' --top-k 2"), ElementsAre(best[0].second, best[1].second));
  const double between = (best[0].first + best[1].first) / 2;
  EXPECT_THAT(shown(fmt::format("' --min-score {}", between)), ElementsAre(best[0].second));
  EXPECT_THAT(shown("' --min-score 1"), SizeIs(0));
  for (const char* wrong : {"nan", "2", "-1", "x", "0.5x"})
    EXPECT_EQ(run(std::string("classify images/a.png --model model --labels cat --min-score ") + wrong).status, 2)
        << wrong;
  EXPECT_THAT(run("classify images/a.png --model model --labels cat,dog --min-score 1").out,
              HasSubstr("no label reaches --min-score"));
}

/// A letter or word is a token of this vocabulary, and 38 of them fit between start and end.
TEST_F(CommandOptions, LongTextsAreCutOnlyIfAsked) {
  std::string long_text = "b", cut = "b";
  for (int i = 1; i < 100; ++i) long_text += " b";
  for (int i = 1; i < 38; ++i) cut += " b";
  const std::string match = "match images/a.png --model model --json --text 'a cat' --text ";
  EXPECT_EQ(run(match + "'" + long_text + "'").status, 1);
  const auto similarity = [](const Result& result) { return result.lines().at(0).at("texts").at(1).at("similarity"); };
  EXPECT_EQ(similarity(run(match + "'" + long_text + "' --truncate")), similarity(run(match + "'" + cut + "'")));

  const std::string classify = "classify images/a.png --model model --json --template {} --labels cat,";
  const auto scores = [](const Result& result) {
    std::vector<double> values;
    const Json line = result.lines().at(0);
    for (const Json& one : line.at("labels")) values.push_back(one.at("score"));
    return values;
  };
  EXPECT_EQ(run(classify + "'" + long_text + "'").status, 1);
  EXPECT_EQ(scores(run(classify + "'" + long_text + "' --truncate")), scores(run(classify + "'" + cut + "'")));

  std::ofstream(folder_.path() / "long") << long_text << '\n';
  std::ofstream(folder_.path() / "cut") << cut << '\n';
  const std::string embed = " --model model --dtype fp32 --text-file ";
  EXPECT_EQ(run("embed" + embed + out("long") + " --out " + out("refused")).status, 1);
  ASSERT_EQ(run("embed --truncate" + embed + out("long") + " --out " + out("e")).status, 0);
  ASSERT_EQ(run("embed" + embed + out("cut") + " --out " + out("f")).status, 0);
  EXPECT_EQ(rows("e", "text"), rows("f", "text"));
}

TEST_F(CommandOptions, HelpSaysWhatEachOptionTakes) {
  const std::string help = run("embed -h").out;
  for (const char* part : {"gondola embed [OPTIONS] [IMAGE...]", "--text-file FILE ", "--out DIR ",
                           "folder to write to (required)", "--dtype fp16|fp32 ", "(default: fp16)", "--resume  "})
    EXPECT_THAT(help, HasSubstr(part));
  EXPECT_THAT(help, testing::Not(HasSubstr("TEXT:")));
  EXPECT_THAT(run("bench -h").out, HasSubstr("--batch N,N,... "));
}

TEST_F(CommandOptions, MisspeltNamesGetASuggestion) {
  EXPECT_THAT(run("clasify a.png --labels a,b").error, HasSubstr("no command clasify; did you mean classify?"));
  EXPECT_THAT(run("classify a.png --lables=a,b").error, HasSubstr("no option --lables=a,b; did you mean --labels?"));
  EXPECT_THAT(run("classify a.png --labels a,b --modle m").error,
              HasSubstr("no option --modle; did you mean --model?"));
  EXPECT_THAT(run("classify a.png --colour red").error, HasSubstr("no option --colour\n"));
  EXPECT_THAT(run("--exif classify a.png --labels a,b").error, HasSubstr("--exif is an option of classify; write it"));
}

/// CLI11 alone would read 010 as eight.
TEST_F(CommandOptions, NumbersAreNeverOctal) {
  const std::string command = "classify images/a.png --labels a,b --model model --top-k ";
  EXPECT_EQ(run(command + "010").status, 2);
  EXPECT_EQ(run(command + "10").status, 0);
}

TEST_F(CommandOptions, MissingOptionsAreNamed) {
  EXPECT_THAT(run("classify images/a.png").error, HasSubstr("--labels or --labels-file is required"));
  EXPECT_THAT(run("embed --out " + out("e")).error, HasSubstr("IMAGE or --text-file is required"));
  const std::string both = "classify images/a.png --labels a,b --labels-file ";
  for (const std::string& wrong : {std::string("classify images/a.png"), std::string("embed --out e"),
                                   both + golden_.string() + "/model/vocab.json"})
    EXPECT_EQ(run(wrong).status, 2) << wrong;
}

TEST_F(CommandOptions, ExifTurnsImagesUpright) {
  const auto answer = [&](const std::string& arguments) { return run(arguments + " --model model --json").out; };
  for (const std::string command : {"match {}--text 'a cat'", "classify {}--labels cat,dog"}) {
    const auto of = [&](const char* image) {
      std::string arguments = command;
      return arguments.replace(arguments.find("{}"), 2, std::string("../image/") + image + " ");
    };
    EXPECT_NE(answer(of("orientation-6.jpg")), answer(of("orientation-6.jpg") + " --exif")) << command;
    EXPECT_EQ(answer(of("orientation-1.jpg")), answer(of("orientation-1.jpg") + " --exif")) << command;
  }
  const auto tensor = [&](const std::string& options) {
    const Result result = run("preprocess ../image/orientation-6.jpg --model model --json --out " + out("t") + options);
    return read_file(result.lines().at(0).at("tensor").get<std::string>());
  };
  EXPECT_NE(tensor(""), tensor(" --exif"));
  const auto row = [&](const char* name, const std::string& options) {
    run("embed ../image/orientation-6.jpg --model model --dtype fp32 --out " + out(name) + options);
    return rows(name, "img");
  };
  EXPECT_NE(row("as-it-lies", ""), row("upright", " --exif"));
}

TEST_F(CommandOptions, EmbedHonoursRawAndDtype) {
  const std::string embed = "embed images --model model --precision fp32 --out ";
  ASSERT_EQ(run(embed + out("raw") + " --raw --dtype fp32").status, 0);
  const std::vector<float> raw = rows("raw", "img");
  expect_row(std::span(raw).first(16), embedding("images", "a.png", /*raw=*/true), 1e-4);
  ASSERT_EQ(run(embed + out("half")).status, 0);
  const std::string bytes = read_file(folder_.path() / "half" / "img_emb" / "img_emb_0.npy");
  EXPECT_THAT(bytes, HasSubstr("'<f2'"));
  std::vector<std::uint16_t> halves(3 * 16);
  ASSERT_GT(bytes.size(), halves.size() * sizeof halves[0]);
  std::memcpy(halves.data(), bytes.data() + bytes.size() - halves.size() * sizeof halves[0],
              halves.size() * sizeof halves[0]);
  std::vector<float> values;
  for (const std::uint16_t half : halves) values.push_back(float_from_half(half));
  expect_row(std::span(values).first(16), embedding("images", "a.png"), 6e-4);
  const fs::path large = folder_.path() / "large";
  fs::copy(golden_ / "model", large);
  TensorMap weights = read_safetensors(golden_ / "model" / "model.safetensors");
  Tensor& projection = weights.at("visual_projection.weight");
  std::vector<float> larger = to_floats(projection);
  for (float& value : larger) value *= 1e6f;
  projection = make_tensor(projection.shape, larger);
  write_safetensors(large / "model.safetensors", weights);
  const std::string of_large = "embed images/a.png --raw --model " + out("large") + " --out ";
  EXPECT_THAT(run(of_large + out("too-large")).error, HasSubstr("images/a.png: its embedding has values beyond"));
  EXPECT_EQ(run(of_large + out("single") + " --dtype fp32").status, 0);
}

/// More texts than are encoded at a time.
TEST_F(CommandOptions, EmbedKeepsTheOrderOfManyTexts) {
  const std::vector<std::string> texts = {"the cat", "a dog", "photo"};
  constexpr std::size_t lines = 1030;
  std::ofstream file(folder_.path() / "texts");
  for (std::size_t i = 0; i < lines; ++i) file << texts[i * i / 7 % 3] << '\n';
  file.close();
  ASSERT_EQ(run("embed --model model --precision fp32 --dtype fp32 --text-file " + out("texts") + " --out " + out("e"))
                .status,
            0);
  const std::vector<float> found = rows("e", "text");
  ASSERT_EQ(found.size(), lines * 16);
  for (std::size_t i = 0; i < lines; ++i)
    expect_row(std::span(found).subspan(i * 16, 16), embedding("texts", texts[i * i / 7 % 3]), 1e-5);
}

TEST_F(CommandOptions, PreprocessKeepsManyImagesApart) {
  const fs::path many = folder_.path() / "many";
  fs::create_directories(many);
  constexpr int images = 70;
  for (int i = 0; i < images; ++i)
    fs::copy(golden_ / "images" / (i % 2 == 0 ? "a.png" : "b.jpg"), many / fmt::format("{:02}.png", i));
  const auto lines = run("preprocess " + out("many") + " --model model --json --out " + out("t")).lines();
  ASSERT_EQ(lines.size(), std::size_t{images});
  const auto tensor = [](const Json& line) { return read_file(line.at("tensor").get<std::string>()); };
  const std::string a = tensor(lines[0]), b = tensor(lines[1]);
  EXPECT_NE(a, b);
  for (std::size_t i = 0; i < images; ++i) {
    EXPECT_EQ(fs::path(lines[i].at("tensor").get<std::string>()).filename(), fmt::format("{:02}.npy", i));
    EXPECT_EQ(tensor(lines[i]), i % 2 == 0 ? a : b) << i;
  }
  const Result collision = run("preprocess images/a.png " + out("many") + "/../a.png --model model --out " + out("u"));
  EXPECT_EQ(collision.status, 1);
  EXPECT_THAT(collision.error, AllOf(HasSubstr("images/a.png"), HasSubstr("would both be written")));
  EXPECT_FALSE(fs::exists(folder_.path() / "u"));

  fs::create_directories(folder_.path() / "none" / "empty");
  const Result empty = run("preprocess images/a.png " + out("none/") + " " + out("none/empty/") +
                           " --json --model model --out " + out("v"));
  ASSERT_EQ(empty.lines().size(), 3u) << empty.error;
  EXPECT_TRUE(empty.lines()[0].contains("tensor"));
  EXPECT_TRUE(empty.lines()[1].contains("error"));
  EXPECT_TRUE(empty.lines()[2].contains("error"));
}

TEST_F(CommandOptions, ConfigurationAndVocabularyMayBeElsewhere) {
  const std::string embed = "embed images --model ../models/vit_state_dict.pt --out ";
  EXPECT_EQ(run(embed + out("none")).status, 1);
  EXPECT_EQ(run(embed + out("e") + " --config ../models/vit_state_dict.json").status, 0);

  const fs::path bare = folder_.path() / "bare";
  fs::copy(golden_ / "model", bare);
  for (const char* file : {"vocab.json", "merges.txt"}) fs::remove(bare / file);
  for (const std::string command :
       {"match images/a.png --text 'a cat' --json", "classify images/a.png --labels cat,dog"}) {
    EXPECT_EQ(run(command + " --model " + out("bare")).status, 1);
    EXPECT_EQ(run(command + " --model " + out("bare") + " --vocab model").out, run(command + " --model model").out);
  }
  ASSERT_EQ(run("vocab ../text/corpus.txt --size 520 --out " + out("smaller")).status, 0);
  const std::string match = "match images/a.png --text 'a cat' --model ";
  EXPECT_THAT(run(match + out("bare") + " --vocab " + out("smaller")).error, HasSubstr("has 520 tokens, the model"));
  // A file's configuration may come from anywhere, so the vocabulary beside the file need not be its own.
  ASSERT_EQ(run("convert --model model --to open_clip --out " + out("converted")).status, 0);
  fs::copy(folder_.path() / "converted" / "open_clip_model.safetensors",
           folder_.path() / "smaller" / "bare.safetensors");
  const std::string of_file =
      match + out("smaller/bare.safetensors") + " --config " + out("converted/open_clip_config.json");
  EXPECT_THAT(run(of_file).error, HasSubstr("has 520 tokens, the model"));
  EXPECT_EQ(run(of_file + " --vocab model").status, 0);
}

TEST_F(CommandOptions, RefuseAVocabularyWhoseEndTokenTheModelDoesNotPool) {
  const fs::path copy = folder_.path() / "copy";
  fs::copy(golden_ / "model", copy);
  std::string config = read_file(copy / "config.json");
  const std::string eos = "\"eos_token_id\": ";
  const std::size_t at = config.find(eos) + eos.size();
  config.replace(at, config.find_first_of(",\n}", at) - at, "7");
  std::ofstream(copy / "config.json") << config;
  EXPECT_THAT(run("match images/a.png --text 'a cat' --model " + out("copy")).error, HasSubstr("pools at 7"));
}

TEST_F(CommandOptions, ConvertStoresTheRequestedType) {
  const auto type_of = [&](const char* name, const std::string& options) {
    EXPECT_EQ(run("convert --to hf --out " + out(name) + options).status, 0);
    const fs::path file = folder_.path() / name / "model.safetensors";
    EXPECT_THAT(read_file(file).substr(0, 4096), HasSubstr(R"("format":"pt")")) << "as transformers requires";
    return read_safetensors(file).at("visual_projection.weight").type;
  };
  EXPECT_EQ(type_of("by-default", " --model ../models/vit_openai.pt"), DType::float32) << "of fp16";
  EXPECT_EQ(type_of("fp16", " --model model --dtype fp16"), DType::float16);
  EXPECT_EQ(type_of("bf16", " --model model --dtype bf16"), DType::bfloat16);
}

/// Converting scalars saves nothing, and a variance may not fit in fp16.
TEST_F(CommandOptions, ConvertKeepsTheTypesOfScalarsAndStatistics) {
  ASSERT_EQ(run("convert --model ../models/resnet_openai.pt --to open_clip --dtype bf16 --out " + out("r")).status, 0);
  const TensorMap before = load_model_files((golden_ / ".." / "models" / "resnet_openai.pt").string()).weights;
  int kept = 0;
  for (const auto& [weight, tensor] : read_safetensors(folder_.path() / "r" / "open_clip_model.safetensors")) {
    const bool keeps = weight == "logit_scale" || weight.find(".running_") != std::string::npos ||
                       weight.ends_with("num_batches_tracked");
    EXPECT_EQ(tensor.type, keeps ? before.at(weight).type : DType::bfloat16) << weight;
    kept += keeps ? 1 : 0;
  }
  EXPECT_GT(kept, 10);
}

/// Equals what transformers wrote, field by field, except for what only training reads and the last bits of floats.
TEST_F(CommandOptions, ConvertWritesTheConfigurationOfTransformers) {
  ASSERT_EQ(run("convert --model model --to hf --out " + out("hf")).status, 0);
  const auto read = [&](const fs::path& folder, const char* file) { return Json::parse(read_file(folder / file)); };
  Json config = read(golden_ / "model", "config.json");
  for (Json* part : {&config, &config["text_config"], &config["vision_config"]})
    for (const char* key : {"attention_dropout", "initializer_factor", "initializer_range", "logit_scale_init_value",
                            "transformers_version"})
      part->erase(key);
  EXPECT_EQ(read(folder_.path() / "hf", "config.json"), config);
  Json found = read(folder_.path() / "hf", "preprocessor_config.json"),
       wanted = read(golden_ / "model", "preprocessor_config.json");
  for (const char* key : {"image_mean", "image_std"}) {
    for (std::size_t i = 0; i < 3; ++i)
      EXPECT_NEAR(found.at(key).at(i).get<double>(), wanted.at(key).at(i).get<double>(), 1e-7);
    found.erase(key);
    wanted.erase(key);
  }
  EXPECT_EQ(found, wanted);
}

/// The trainer's own options are passed on.
TEST_F(CommandOptions, TrainOverridesValuesOfTheRecipe) {
  if (!test::built_with_pytorch) GTEST_SKIP() << "needs gondola-train";
  std::ofstream(folder_.path() / "pairs.csv") << "image,caption\n"
                                              << (golden_ / "images" / "a.png").string() << ",a cat\n"
                                              << (golden_ / "images" / "b.jpg").string() << ",a dog\n";
  std::ofstream(folder_.path() / "recipe.toml")
      << "[model]\npreset = \"tiny-test\"\nvocab_size = 520\n[data]\ntrain = [\"nowhere.csv\"]\n"
         "[train]\nbatch_size = 2\nsteps = 50\nthreads = 1\nwarmup_steps = 1\n";
  const Result result = run("train " + out("recipe.toml") + " --out " + out("run") +
                            " --trace 2 --set train.steps=3 --set train.seed=7 --set 'data.train=[\"" +
                            (folder_.path() / "pairs.csv").string() + "\"]'");
  ASSERT_EQ(result.status, 0) << result.error;
  EXPECT_THAT(read_lines(folder_.path() / "run" / "metrics.jsonl"), SizeIs(3));
  EXPECT_THAT(read_file(folder_.path() / "run" / "trace.json"), HasSubstr("encode images"));
  const Json recipe = Json::parse(read_file(folder_.path() / "run" / "recipe.json"));
  EXPECT_EQ(recipe.at("train.steps"), "3");
  EXPECT_EQ(recipe.at("train.seed"), "7");
}

}  // namespace
}  // namespace gondola
