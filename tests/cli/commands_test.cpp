// The program as a user runs it, compared with transformers and NumPy (tests/reference/cli.py).
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "base/file.h"
#include "base/json.h"
#include "base/parquet_writer.h"
#include "checkpoint/model_files.h"
#include "image/preprocess.h"
#include "tests/cli/program.h"
#include "tests/support/files.h"

namespace gondola {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

using Commands = test::Program;
using test::built_with_pytorch;
using test::Result;

std::string joined(const Json& words) {
  std::string text;
  for (const Json& word : words) text += (text.empty() ? "" : ",") + word.get<std::string>();
  return text;
}

TEST_F(Commands, ClassifyGivesTransformersScores) {
  for (const Json& set : expected_.at("classify")) {
    std::string arguments = "classify images --model model --precision fp32 --json --top-k 9 --labels '" +
                            joined(expected_.at("labels")) + "'";
    for (const Json& text : set.at("templates")) arguments += " --template '" + text.get<std::string>() + "'";
    const Result result = run(arguments);
    ASSERT_EQ(result.status, 0) << result.error;
    ASSERT_EQ(result.lines().size(), 3u);
    for (const Json& line : result.lines()) {
      const std::string image = fs::path(line.at("image").get<std::string>()).lexically_relative("images").string();
      const auto scores = set.at("scores").at(image).get<std::vector<double>>();
      ASSERT_EQ(line.at("labels").size(), scores.size());
      double last = 1;
      for (const Json& item : line.at("labels")) {
        const auto& names = expected_.at("labels");
        const auto at = std::find(names.begin(), names.end(), item.at("label")) - names.begin();
        EXPECT_NEAR(item.at("score").get<double>(), scores[static_cast<std::size_t>(at)], 2e-5);
        EXPECT_LE(item.at("score").get<double>(), last);
        last = item.at("score").get<double>();
      }
    }
  }
}

TEST_F(Commands, ClassifyDefaultsToTheTemplateAPhotoOfA) {
  const std::string classify =
      "classify images/a.png --model model --precision fp32 --json --labels cat --labels 'a dog'";
  const Result by_default = run(classify);
  EXPECT_EQ(by_default.lines().at(0).at("labels").size(), 2u);
  EXPECT_EQ(by_default.out, run(classify + " --template 'a photo of a {}.'").out);
  EXPECT_NE(by_default.out, run(classify + " --template '{}'").out);
}

/// bf16 where the processor supports it natively; a ResNet is always computed in fp32.
TEST_F(Commands, PrecisionIsChosenByTheProcessor) {
  const auto info = [&](const std::string& options, const std::string& isa) {
    return run("info --json " + options, isa).lines().at(0);
  };
  for (const std::string isa : {"", "GONDOLA_ISA=scalar"}) {
    const Json found = info("--model model", isa);
    const bool native_bf16 = found.at("isa") == "avx512bf16" || found.at("isa") == "amx";
    for (const char* tower : {"image", "text"})
      EXPECT_EQ(found.at("precision").at(tower), native_bf16 ? "bf16" : "fp32") << isa;
  }
  EXPECT_EQ(info("--model model --precision bf16", "").at("precision").at("image"), "bf16");
  EXPECT_EQ(info("--model model --device cuda", "").at("precision").at("image"), "bf16");
  EXPECT_EQ(info("--model ../models/resnet_openai.pt --precision bf16", "").at("precision").at("image"), "fp32");
}

TEST_F(Commands, ClassifyShowsTheScores) {
  const std::string arguments = "classify images/a.png --model model --labels 'cat,a dog'";
  std::string table = "images/a.png\n";
  const Json answer = run(arguments + " --json").lines().at(0);
  for (const Json& item : answer.at("labels"))
    table += fmt::format("  {:<5}  {:6.3f}\n", item.at("label").get<std::string>(), item.at("score").get<double>());
  EXPECT_EQ(run(arguments).out, table);
}

TEST_F(Commands, ClassifyKeepsEncodedLabelsInTheUsersCache) {
  const std::string command = "classify images --model model --json --labels cat,dog,tea --template 'a {}'";
  const Result first = run(command);
  ASSERT_EQ(first.status, 0) << first.error;
  const fs::path heads = cache_ / "gondola" / "heads";
  ASSERT_TRUE(fs::exists(heads));
  ASSERT_EQ(std::distance(fs::directory_iterator(heads), {}), 1);
  const fs::path entry = fs::directory_iterator(heads)->path();
  EXPECT_EQ(run(command).out, first.out);
  ::setenv("GONDOLA_ISA", "scalar", 1);
  EXPECT_EQ(run(command).status, 0);
  ::unsetenv("GONDOLA_ISA");
  EXPECT_EQ(std::distance(fs::directory_iterator(heads), {}), 2) << "kernels that round differently";
  std::ofstream(entry, std::ios::app) << "damage";
  EXPECT_EQ(run(command).out, first.out);
  const auto healed = fs::last_write_time(entry);
  fs::last_write_time(entry, healed - std::chrono::hours(1));
  EXPECT_EQ(run(command).out, first.out);
  EXPECT_GT(fs::last_write_time(entry), healed - std::chrono::hours(1)) << "it counts as used";
}

/// In a softmax, a single text would get the whole score.
TEST_F(Commands, MatchOfASingleTextShowsItsSimilarity) {
  EXPECT_THAT(run("match images/a.png --model model --text 'a cat'").out,
              AllOf(HasSubstr("similarity"), Not(HasSubstr("score"))));
  EXPECT_THAT(run("match images/a.png --model model --text 'a cat' --text 'a dog'").out, HasSubstr("score"));
}

/// No opened file may take stderr's descriptor, and a message that cannot be written must not stop anything.
TEST_F(Commands, WorkWithoutStderr) {
  const std::string embed = "embed images damaged.png --model model --dtype fp32 --out ";
  ASSERT_EQ(run(embed + out("usual")).status, 1);
  for (const auto& [folder, redirection] : {std::pair("closed", " 2>&-"), std::pair("full", " 2>/dev/full")}) {
    const std::string end = std::string(redirection) + "; exit $?; :";
    EXPECT_EQ(run("classify missing.png --labels cat --model model" + end).status, 1) << folder;
    EXPECT_EQ(run("info missing" + end).status, 1) << folder;
    EXPECT_EQ(run("info --nonsense" + end).status, 2) << folder;
    EXPECT_EQ(run(embed + out(folder) + end).status, 1) << folder;
    EXPECT_EQ(rows(folder, "img"), rows("usual", "img")) << folder;
  }
  EXPECT_EQ(run("info --model model >&-").status, 1);
}

TEST_F(Commands, MatchTakesTextsLiterally) {
  const Json texts = run("match --text '[a, b]' images/a.png --text c --model model --json").lines().at(0).at("texts");
  ASSERT_EQ(texts.size(), 2u);
  EXPECT_EQ(texts[0].at("text"), "[a, b]");
}

TEST_F(Commands, MatchGivesCosinesAndScoresInTheOrderGiven) {
  const std::vector<std::string> texts = {"the cat", "a dog", "photo"};  // as tests/reference/cli.py has them
  std::string arguments;
  for (const std::string& text : texts) arguments += " --text '" + text + "'";
  const Result result = run("match images/a.png images/b.jpg --json --precision fp32 --model model" + arguments);
  ASSERT_EQ(result.status, 0) << result.error;
  const auto lines = result.lines();
  ASSERT_EQ(lines.size(), 2u);
  for (const auto& [at, image] : {std::pair(0, "a.png"), std::pair(1, "b.jpg")}) {
    const Json& line = lines[static_cast<std::size_t>(at)];
    const Json& expected = expected_.at("match").at(image);
    EXPECT_EQ(line.at("image"), std::string("images/") + image);
    ASSERT_EQ(line.at("texts").size(), texts.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const Json& item = line.at("texts")[i];
      EXPECT_EQ(item.at("text"), texts[i]);
      EXPECT_NEAR(item.at("similarity").get<double>(), expected.at("similarity")[i].get<double>(), 1e-5);
      EXPECT_NEAR(item.at("score").get<double>(), expected.at("score")[i].get<double>(), 2e-5);
    }
  }
  std::string table = "images/a.png\n";
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const Json& item = lines[0].at("texts")[i];
    table += fmt::format("  {:<7}  similarity {:6.3f}  score {:6.3f}\n", texts[i], item.at("similarity").get<double>(),
                         item.at("score").get<double>());
  }
  EXPECT_EQ(run("match images/a.png --precision fp32 --model model" + arguments).out, table);
}

TEST_F(Commands, LowPrecisionShiftsSimilaritiesALittle) {
  const auto similarity = [&](const std::string& precision) {
    const Result result = run("match images/a.png --text 'a dog' --json --model model --precision " + precision);
    EXPECT_EQ(result.status, 0) << result.error;
    return result.lines().at(0).at("texts").at(0).at("similarity").get<double>();
  };
  const double exact = similarity("fp32"), bf16 = similarity("bf16"), int8 = similarity("int8");
  EXPECT_NE(bf16, exact);
  EXPECT_NE(int8, bf16);
  EXPECT_NEAR(bf16, exact, 0.01);
  EXPECT_NEAR(int8, exact, 0.05);
}

TEST_F(Commands, BenchComparesATowerWithThePeak) {
  const Json operations = run("info --json --model model").lines().at(0).at("gflops");
  const Result result = run("bench --json --model model --tower text --precision fp32 --batch 1,3 --threads 1");
  ASSERT_EQ(result.status, 0) << result.error;
  ASSERT_EQ(result.lines().size(), 2u);
  for (const Json& line : result.lines()) {
    EXPECT_LT(line.at("gflops").get<double>() / line.at("items_per_second").get<double>(),
              0.7 * operations.at("text").get<double>());  // of a caption, not of the whole context
    EXPECT_EQ(line.at("precision"), "fp32");
    EXPECT_EQ(line.at("threads"), 1);
    EXPECT_GT(line.at("items_per_second").get<double>(), 0);
    EXPECT_GT(line.at("peak_fraction").get<double>(), 0);
  }
  for (const std::string tower : {"image", "text"}) {
    const Json full =
        run("bench --full --json --model model --precision fp32 --batch 3 --tower " + tower).lines().at(0);
    EXPECT_EQ(full.at("batch"), 3);
    const double expected = full.at("items_per_second").get<double>() * operations.at(tower).get<double>();
    EXPECT_NEAR(full.at("gflops").get<double>(), expected, 1e-6 * expected);
  }
  EXPECT_EQ(run("bench --model model --tower both").status, 2);
}

TEST_F(Commands, MissingDevicesAreNamed) {
  EXPECT_EQ(run("--device tpu info --model model").status, 2);
  EXPECT_EQ(run("--device cuda: info --model model").status, 2);
  for (const std::string command :
       {"bench --batch 1", "match images/a.png --text cat", "classify images/a.png --labels cat"}) {
    const Result cuda = run("--device cuda:99 " + command + " --model model");
    EXPECT_EQ(cuda.status, 1);
    EXPECT_THAT(cuda.error, HasSubstr(built_with_pytorch ? "device cuda:99" : "need a build with PyTorch"));
  }
  EXPECT_EQ(run("--device cuda --json info --model model").lines().at(0).at("device"), "cuda");
  EXPECT_THAT(run("--device cuda --precision int8 info --model model").error, HasSubstr("on the CPU alone"));
  EXPECT_EQ(run("--device cuda bench --kernels --model model").status, 1);
}

TEST_F(Commands, BenchMeasuresTheKernelsOfATower) {
  const Result result = run("bench --kernels --json --model model --precision int8 --tower image");
  ASSERT_EQ(result.status, 0) << result.error;
  std::map<std::string, Json> parts;
  double sum = 0;
  for (const Json& line : result.lines()) {
    const auto part = line.at("part").get<std::string>();
    parts[part] = line;
    EXPECT_EQ(line.at("tower"), "image");
    EXPECT_GT(line.at("milliseconds").get<double>(), 0) << part;
    if (part != "softmax" && part != "sum of parts" && part != "whole pass")
      sum += line.at("milliseconds").get<double>();
  }
  for (const char* part :
       {"patch embedding", "layer norm", "qkv", "attention", "softmax", "out", "fc1", "fc2", "conversion"})
    EXPECT_TRUE(parts.contains(part)) << part;
  EXPECT_EQ(parts.at("qkv").at("calls"), 2);
  EXPECT_THAT(parts.at("fc1").at("shape").get<std::string>(), testing::EndsWith(" × 32 × 64"));
  EXPECT_EQ(parts.at("fc1").at("precision"), "int8");
  EXPECT_GT(parts.at("fc1").at("gflops").get<double>(), 0);
  EXPECT_GT(parts.at("fc1").at("peak_fraction").get<double>(), 0);
  EXPECT_FALSE(parts.at("layer norm").contains("gflops"));
  EXPECT_NEAR(parts.at("sum of parts").at("milliseconds").get<double>(), sum, 1e-6 * sum);
  EXPECT_EQ(parts.at("whole pass").at("pass_fraction"), 1);
  const Result resnet = run("bench --kernels --model ../models/resnet_openai.pt");
  EXPECT_EQ(resnet.status, 1);
  EXPECT_THAT(resnet.error, HasSubstr("ModifiedResNet"));
  EXPECT_EQ(run("bench --kernels --batch 4 --model model").status, 2);
}

TEST_F(Commands, BenchMeasuresFilesStageByStage) {
  const Result result = run("bench --json --model model --precision fp32 --files images damaged.png");
  EXPECT_EQ(result.status, 1);
  std::vector<std::string> stages;
  double seconds = 0;  // of all stages for one image
  auto lines = result.lines();
  EXPECT_EQ(lines.at(0).at("image"), "damaged.png");
  EXPECT_TRUE(lines.at(0).contains("error"));
  lines.erase(lines.begin());
  for (const Json& line : lines) {
    stages.push_back(line.at("stage").get<std::string>());
    EXPECT_EQ(line.at("images"), 3) << "the damaged one is left out";
    EXPECT_GT(line.at("images_per_second").get<double>(), 0);
    if (stages.back() != "files") seconds += 1 / line.at("images_per_second").get<double>();
  }
  ASSERT_THAT(stages, ElementsAre("read", "decode", "preprocess", "tower", "files"));
  constexpr double pixels = 60 * 47;
  EXPECT_NEAR(lines[1].at("megapixels_per_second").get<double>(),
              lines[1].at("images_per_second").get<double>() * pixels * 1e-6, 1e-6);
  const double rate = lines[4].at("images_per_second").get<double>();
  EXPECT_NEAR(lines[4].at("of_tower").get<double>(), rate / lines[3].at("images_per_second").get<double>(), 1e-6);
  EXPECT_NEAR(lines[4].at("of_stages").get<double>(), rate * seconds, 1e-6);

  const Result none = run("bench --model model --files damaged.png empty.jpg");
  EXPECT_EQ(none.status, 1);
  EXPECT_THAT(none.error, HasSubstr("none of the images can be read"));
  EXPECT_EQ(run("bench --model model --files images --kernels").status, 2);
  EXPECT_EQ(run("bench --model model --files images --batch 2").status, 2);
}

TEST_F(Commands, EmbedWritesNormalisedRowsInOrderAndMetadata) {
  const Result result = run("embed images damaged.png --model model --precision fp32 --dtype fp32 --out " + out("e"));
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.error, HasSubstr("damaged.png"));
  const auto found = test::read_npy<float>(folder_.path() / "e" / "img_emb" / "img_emb_0.npy");
  ASSERT_THAT(found.shape, ElementsAre(3, 16));
  const std::vector<std::string> order = {"a.png", "b.jpg", "deeper/c.png"};
  for (std::size_t row = 0; row < 3; ++row) {
    SCOPED_TRACE(order[row]);
    expect_row(std::span(found.values).subspan(row * 16, 16), embedding("images", order[row]), 1e-5);
  }
  write_parquet(folder_.path() / "rows.parquet", "image_path",
                std::vector<std::string>{"images/a.png", "images/b.jpg", "images/deeper/c.png"});
  EXPECT_EQ(read_file(folder_.path() / "e" / "metadata" / "metadata_0.parquet"),
            read_file(folder_.path() / "rows.parquet"));
  std::ofstream(folder_.path() / "texts.txt") << "a cat\n" << std::string(300, 'z') << '\n';
  EXPECT_THAT(run("embed images --model model --text-file " + out("texts.txt") + " --out " + out("early")).error,
              HasSubstr("texts.txt:2: "));
  EXPECT_FALSE(fs::exists(folder_.path() / "early")) << "found before the images are embedded";
  std::ofstream(folder_.path() / "texts.txt") << "a cat\na dog\n";
  const Result mistyped =
      run("embed image --text-file " + out("texts.txt") + " --model model --dtype fp32 --out " + out("mistyped"));
  EXPECT_EQ(mistyped.status, 1);
  EXPECT_THAT(mistyped.error, HasSubstr("none of the images can be embedded"));
  EXPECT_EQ(rows("mistyped", "text").size(), 2u * 16) << "what can be embedded is";
  EXPECT_EQ(run("embed image --model model --out " + out("e")).status, 1);
  EXPECT_EQ(rows("e", "img"), found.values);
}

TEST_F(Commands, TellTheirVersion) {
  const Result own = run("--version"), train = run("train --version");
  EXPECT_EQ(own.status, 0);
  EXPECT_EQ(own.out, GONDOLA_VERSION "\n");
  if (built_with_pytorch) {
    EXPECT_EQ(train.out, own.out);
  }
}

TEST_F(Commands, TokenizeShowsIdsAndTokens) {
  for (const auto& [text, ids] : expected_.at("ids").items()) {
    const auto lines = run("tokenize --json --model model '" + text + "'").lines();
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_EQ(lines[0].at("ids"), ids);
    EXPECT_EQ(lines[0].at("tokens").front(), "<|startoftext|>");
    EXPECT_EQ(lines[0].at("truncated"), false);
  }
  const std::string words(300, 'z');
  const Result long_text = run("tokenize --json --model model short " + words);
  EXPECT_EQ(long_text.status, 1);
  EXPECT_TRUE(long_text.lines().at(1).contains("error"));
  EXPECT_EQ(run("tokenize --json --truncate --model model " + words).lines().at(0).at("ids").size(), 40u);
}

TEST_F(Commands, PreprocessWritesTensorsAndGoesOnPastBadFiles) {
  const Result result = run("preprocess images/a.png empty.jpg images/b.jpg --json --model model --out " + out("t"));
  EXPECT_EQ(result.status, 1);
  const auto lines = result.lines();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_TRUE(lines[1].contains("error"));
  const auto tensor = test::read_npy<float>(lines[2].at("tensor").get<std::string>());
  EXPECT_THAT(tensor.shape, ElementsAre(3, 32, 32));
  std::vector<float> expected(tensor.values.size());
  preprocess(load_image((golden_ / "images" / "b.jpg").string()),
             load_model_files((golden_ / "model").string()).preprocess, expected);
  EXPECT_EQ(tensor.values, expected);
}

TEST_F(Commands, InfoDescribesAModel) {
  const Json info = run("info --json --model model").lines().at(0);
  EXPECT_EQ(info.at("layout"), "Hugging Face folder");
  EXPECT_EQ(info.at("image_tower").at("patch_size"), 8);
  EXPECT_EQ(info.at("text_tower").at("vocab_size"), 525);
  EXPECT_EQ(info.at("parameters").at("total"), 60'193);
}

TEST_F(Commands, VocabTrainsAVocabularyThatLoads) {
  ASSERT_EQ(run("vocab ../text/corpus.txt --size 525 --out " + out("v")).status, 0);
  const Json line = run("tokenize --json --model model --vocab " + out("v") + " 'latin letter'").lines().at(0);
  EXPECT_EQ(line.at("ids").front(), 523);
  EXPECT_EQ(line.at("ids").back(), 524);
  EXPECT_EQ(run("vocab ../text/corpus.txt --size 12 --out " + out("w")).status, 2);
  const Result again = run("vocab ../text/corpus.txt --size 520 --out " + out("v"));
  EXPECT_EQ(again.status, 1);
  EXPECT_THAT(again.error, HasSubstr("not empty"));
  EXPECT_EQ(run("vocab ../text/corpus.txt --size 520 --json --out " + out("x")).lines().at(0).at("tokens"), 520);
}

/// CLI11 would read them as lists.
TEST_F(Commands, WordsInBracketsAreTakenLiterally) {
  for (const std::string text : {"[cat]", "[a, b]", "[]"}) {
    const Result result = run("tokenize --json --model model '" + text + "'");
    ASSERT_EQ(result.lines().size(), 1u) << text << result.error;
    EXPECT_EQ(result.lines()[0].at("text"), text);
  }
  fs::create_directory(folder_.path() / "[2019]");
  fs::copy(golden_ / "images" / "a.png", folder_.path() / "[2019]");
  const Result result = run("classify --model '" + (golden_ / "model").string() + "' --json --labels cat,dog '[2019]'",
                            "env -C " + out(""));
  ASSERT_EQ(result.status, 0) << result.error;
  EXPECT_EQ(result.lines().at(0).at("image"), "[2019]/a.png");
  EXPECT_EQ(
      run("quantize '" + (golden_ / "model").string() + "' --out q '--calibrate=[2019]'", "env -C " + out("")).status,
      0);
  EXPECT_EQ(run("'[x]'").error.substr(0, 34), "gondola: there is no command [x]\ng");
}

/// As from an unset variable; CLI11 would take the next word as the value.
TEST_F(Commands, TreatAnEmptyValueAsAValue) {
  EXPECT_THAT(run("preprocess images/a.png --out= --model model").error, HasSubstr("--out: expected a folder"));
  for (const char* none : {"--labels=", "--labels=,", "--labels ,,"})
    EXPECT_THAT(run(std::string("classify images/a.png ") + none + " --model model").error,
                HasSubstr("expected at least one label"))
        << none;
  EXPECT_EQ(run("tokenize --model model --json -- --y=").lines().at(0).at("text"), "--y=");
  for (const char* word : {"--json", "-h", "--nope", "[a]"}) {  // after a text as well
    const auto lines = run(std::string("tokenize --model model --json a -- ") + word).lines();
    ASSERT_EQ(lines.size(), 2u) << word;
    EXPECT_EQ(lines[1].at("text"), word);
  }
  EXPECT_EQ(run("match images/a.png --text= --text 'a dog' --model model --json").lines().at(0).at("texts").size(), 2u);
}

TEST_F(Commands, WrongUsageIsStatus2AndFailuresAreStatus1) {
  EXPECT_EQ(run("").status, 2);
  EXPECT_EQ(run("classify images/a.png --model model").status, 2);
  EXPECT_EQ(run("classify images/a.png --labels cat --template none --model model").status, 2);
  EXPECT_EQ(run("dance").status, 2);
  EXPECT_THAT(run("clasify images/a.png").error, HasSubstr("no command clasify"));
  EXPECT_THAT(run("classify images/a.png --label cat").error, HasSubstr("no option --label"));
  EXPECT_EQ(run("info model --model model").status, 2);
  EXPECT_EQ(run("info --precision int4").status, 2);
  EXPECT_THAT(run("embed images --model model --out ''").error, HasSubstr("--out: expected a folder"));
  EXPECT_THAT(run("classify --labels cat -- images/a.png images/none --model model").error,
              Not(HasSubstr("option --\n")));
  EXPECT_EQ(run("match images/a.png --text x --model missing").status, 1);
  EXPECT_EQ(run("classify empty.jpg --labels cat --model model").status, 1);
  EXPECT_EQ(run("tokenize hello --model model > /dev/full").status, 1);
  EXPECT_EQ(run("-h > /dev/full").status, 1);
  EXPECT_THAT(run("-- info model").error, HasSubstr("a command must stand before --"));
  for (const char* command : {"classify - --labels cat", "quantize --calibrate - --out q"})
    EXPECT_THAT(run(std::string(command) + " --model model < /dev/null").error, HasSubstr("stdin names no image"));
  EXPECT_EQ(run("--version").status, 0);
  EXPECT_THAT(run("train -h").out + run("train -h").error,
              HasSubstr(built_with_pytorch ? "RECIPE" : "it needs PyTorch"));
  EXPECT_THAT(run("--threads 1 train recipe.toml --out run").error, HasSubstr("--threads"));
  for (const char* command :
       {"classify", "match", "embed", "tokenize", "preprocess", "info", "convert", "quantize", "vocab", "bench"})
    EXPECT_THAT(run(std::string(command) + " -h").out, HasSubstr("Example: gondola")) << command;
}

// The emulator stops the program at any instruction that the emulated processor lacks.
TEST_F(Commands, NeverExecuteInstructionsThatAnOlderProcessorLacks) {
  if (std::system("command -v qemu-x86_64 > /dev/null") != 0)
    GTEST_SKIP() << "qemu-x86_64 (qemu-user) is not installed";
  for (const auto& [processor, isa] : {std::pair("Haswell", "avx2"), std::pair("Nehalem", "scalar")}) {
    const std::string emulator = std::string("qemu-x86_64 -cpu ") + processor;
    EXPECT_EQ(run("info --model model --json", emulator).lines().at(0).at("isa"), isa);
    for (const char* precision : {"fp32", "bf16", "int8"}) {
      const std::string command =
          std::string("match images --model model --text 'a cat' --json --precision ") + precision;
      const Result native = run(command), emulated = run(command, emulator);
      ASSERT_EQ(emulated.status, 0) << processor << " " << precision << ": " << emulated.error;
      for (std::size_t i = 0; i < native.lines().size(); ++i) {
        const auto similarity = [&](const Result& result) {
          return result.lines().at(i).at("texts").at(0).at("similarity").get<double>();
        };
        EXPECT_NEAR(similarity(emulated), similarity(native), std::string_view(precision) == "fp32" ? 1e-5 : 0.02);
      }
    }
  }
}

/// Uses the model that ships with Gondola, without --model. Other processors round differently.
TEST_F(Commands, AnswerAsTheReadmeShows) {
  const std::vector<std::string> lines = read_lines(fs::path(GONDOLA_SOURCE_DIR) / "README.md");
  const std::string prompt = "$ gondola classify examples/";
  const auto shown = std::ranges::find_if(lines, [&](const auto& line) { return line.starts_with(prompt); });
  ASSERT_NE(shown, lines.end());
  const Result result = run(shown->substr(std::string("$ gondola ").size()) + " --precision fp32 --json",
                            "env -C '" GONDOLA_SOURCE_DIR "'");
  ASSERT_EQ(result.status, 0) << result.error;
  const Json labels = result.lines().at(0).at("labels");
  for (std::size_t i = 0; i < 5; ++i) {
    std::istringstream row(shown[static_cast<std::ptrdiff_t>(i) + 2]);
    std::string label;
    double score = 0;
    ASSERT_TRUE(row >> label >> score) << row.str();
    EXPECT_EQ(labels.at(i).at("label"), label);
    EXPECT_NEAR(labels.at(i).at("score").get<double>(), score, 0.002);
  }
}

/// Without --json they print something too.
TEST_F(Commands, PrintTheJsonObjectsDocumentedInTheReadme) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> commands = {
      {"classify images/a.png --labels cat,dog --model model", {"image", "labels"}},
      {"match images/a.png --text 'a cat' --model model", {"image", "texts"}},
      {"embed images/a.png --model model --out OUT", {"embeddings", "rows", "embed_dim"}},
      {"tokenize 'a cat' --model model", {"text", "ids", "tokens", "truncated"}},
      {"preprocess images/a.png --model model --out OUT", {"image", "tensor"}},
      {"convert --model model --to open_clip --out OUT", {"model"}},
      {"vocab ../text/corpus.txt --size 520 --out OUT", {"vocabulary", "tokens"}},
      {"bench --model model --batch 1",
       {"tower", "precision", "device", "isa", "threads", "batch", "items_per_second", "gflops", "peak_fraction"}}};
  const std::string readme = read_file(fs::path(GONDOLA_SOURCE_DIR) / "README.md");
  int folders = 0;
  const auto answer = [&](std::string arguments) {
    const std::size_t place = arguments.find("OUT");
    if (place != std::string::npos) arguments.replace(place, 3, out(fmt::format("{}", ++folders).c_str()));
    const Result result = run(arguments);
    EXPECT_EQ(result.status, 0) << arguments << ": " << result.error;
    return result;
  };
  for (const auto& [arguments, keys] : commands) {
    const Json object = answer(arguments + " --json").lines().back();
    std::vector<std::string> found;
    for (const auto& [key, value] : object.items()) found.push_back(key);
    EXPECT_THAT(found, testing::UnorderedElementsAreArray(keys)) << arguments;
    for (const std::string& key : keys) EXPECT_THAT(readme, HasSubstr("\"" + key + "\""));
    EXPECT_NE(answer(arguments).out, "") << arguments;
  }
}

}  // namespace
}  // namespace gondola
