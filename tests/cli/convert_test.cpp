// Models that convert and quantize write, as read by gondola and transformers.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>
#include <ranges>

#include "base/json.h"
#include "tests/cli/program.h"
#include "tests/support/files.h"
#include "tests/support/python.h"

namespace gondola {
namespace {

using test::Result;
using testing::HasSubstr;
namespace fs = std::filesystem;

using Conversion = test::Program;

TEST_F(Conversion, ConvertedModelsGiveTheSameAnswers) {
  const std::string question = "match images --json --text 'the cat' --model ";
  const std::string answer = run(question + "model").out;
  ASSERT_EQ(run("convert --model model --to hf --out " + out("hf")).status, 0);
  EXPECT_EQ(run(question + out("hf")).out, answer);
  // For these opaque images, open_clip's preprocessing differs only in the last bit of its arithmetic.
  ASSERT_EQ(run("convert --model model --to open_clip --out " + out("oc")).status, 0);
  const auto expected = run(question + "model").lines(), found = run(question + out("oc")).lines();
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(found[i].at("texts")[0].at("similarity").get<double>(),
                expected[i].at("texts")[0].at("similarity").get<double>(), 1e-5);
  EXPECT_EQ(run("convert --model model --to hf --out " + out("hf")).status, 1);  // not empty
  const Result resnet = run("convert --model ../models/resnet_openai.pt --to hf --out " + out("rn"));
  EXPECT_EQ(resnet.status, 1);
  EXPECT_THAT(resnet.error, HasSubstr("ModifiedResNet"));
}

/// Its tokenizer pads and cuts as gondola does, and its weights keep their type.
TEST_F(Conversion, ConvertWritesWhatTransformersLoads) {
  GONDOLA_NEEDS_PYTHON_WITH("transformers");
  ASSERT_EQ(run("convert --model model --to hf --dtype bf16 --out " + out("hf")).status, 0);
  const fs::path script = test::write(folder_.path() / "load.py", R"python(import json, sys
from transformers import AutoTokenizer, CLIPModel
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = CLIPModel.from_pretrained(sys.argv[1], dtype="auto")
print(json.dumps({"tokenizer": type(tokenizer).__name__, "dtype": str(model.dtype),
                  "ids": tokenizer(sys.argv[2:], padding="max_length", truncation=True)["input_ids"]}))
)python");
  const std::string texts = fmt::format("'A Cat ' 'two  dogs!' {}", std::string(300, 'z'));
  ASSERT_EQ(std::system(fmt::format("'{}' {} {} {} > {}", test::python.string(), script.string(), out("hf"), texts,
                                    out("answer"))
                            .c_str()),
            0);
  const Json answer = Json::parse(read_file(folder_.path() / "answer"));
  EXPECT_THAT(answer.at("tokenizer").get<std::string>(), HasSubstr("CLIPTokenizer"));
  EXPECT_EQ(answer.at("dtype"), "torch.bfloat16");
  const auto own = run("tokenize --truncate --json --model model " + texts).lines();
  for (std::size_t i = 0; i < own.size(); ++i) {
    auto ids = own[i].at("ids").get<std::vector<int>>();
    ids.resize(40, ids.back());
    EXPECT_EQ(answer.at("ids").at(i), Json(ids));
  }
}

TEST_F(Conversion, QuantizeWritesAModelThatAnswersTheSame) {
  const std::string quantize = "quantize model --calibrate images --json --out ";
  const Result result = run(quantize + out("q"));
  ASSERT_EQ(result.status, 0) << result.error;
  const auto lines = result.lines();
  ASSERT_EQ(lines.size(), 20u);  // 16 layers, 2 towers, the answers, the folder
  EXPECT_EQ(lines[0].at("layer"), "visual.transformer.resblocks.0.attn.in_proj_weight");
  EXPECT_EQ(lines[0].at("precision"), "int8");
  EXPECT_EQ(lines[16].at("tower"), "image");
  EXPECT_GT(lines[17].at("cosine_min"), 0.99);
  EXPECT_EQ(lines[18].at("images"), 1);
  EXPECT_EQ(fs::path(lines[19].at("model").get<std::string>()).filename(), "q");
  EXPECT_EQ(std::ranges::distance(fs::directory_iterator(folder_.path())), 2);  // q and stderr

  fs::create_directories(folder_.path() / "place");
  fs::create_directories(folder_.path() / "link.partial" / "mine");
  fs::create_directory_symlink(folder_.path() / "place", folder_.path() / "link");
  EXPECT_EQ(run(quantize + out("link")).status, 0);
  EXPECT_TRUE(fs::exists(folder_.path() / "place" / "model.safetensors"));
  EXPECT_TRUE(fs::exists(folder_.path() / "link.partial" / "mine"));

  const std::string question = "match images --json --text 'the cat' --model ";
  const auto similarity = [&](const std::string& model) {
    const Result answer = run(question + model);
    EXPECT_EQ(answer.status, 0) << answer.error;
    return answer.lines().at(0).at("texts")[0].at("similarity").get<double>();
  };
  const double exact = similarity("model --precision fp32"), int8 = similarity(out("q"));
  EXPECT_NEAR(int8, exact, 0.03);
  EXPECT_NE(int8, exact);
  EXPECT_NEAR(similarity(out("q") + " --precision fp32"), exact, 0.03);
  const Json info = run("info --json --model " + out("q")).lines().at(0);
  EXPECT_EQ(info.at("precision").at("image"), "int8");
  EXPECT_EQ(
      info.at("quantization").at("int8_layers").get<int>() + info.at("quantization").at("other_layers").get<int>(), 16);
  EXPECT_TRUE(run("info --json --model model").lines().at(0).at("quantization").is_null());

  // Conversion turns the integers into the values that they stand for.
  ASSERT_EQ(run("convert --to hf --model " + out("q") + " --out " + out("c")).status, 0);
  EXPECT_EQ(similarity(out("c") + " --precision fp32"), similarity(out("q") + " --precision fp32"));

  EXPECT_EQ(run(quantize + out("q")).status, 1);  // not empty
  fs::create_directory_symlink(folder_.path() / "nowhere", folder_.path() / "dangling");
  for (const char* folder : {"dangling", "dangling/", "dangling/below"})
    EXPECT_THAT(run(quantize + out(folder)).error, HasSubstr("a link to a folder that does not exist")) << folder;
  EXPECT_TRUE(fs::is_symlink(folder_.path() / "dangling"));
  EXPECT_EQ(run("quantize --out " + out("list") + " --calibrate images -- model").status, 0) << "-- ends a list";
  EXPECT_THAT(run("quantize " + out("q") + " --calibrate images --out " + out("r")).error, HasSubstr("int8 already"));
  const Result damaged = run("quantize model --calibrate images damaged.png --out " + out("d"));
  EXPECT_EQ(damaged.status, 1);
  EXPECT_THAT(damaged.error, HasSubstr("damaged.png"));
  EXPECT_THAT(damaged.out, HasSubstr("of 16 layers in int8"));
  EXPECT_TRUE(fs::exists(folder_.path() / "d" / "model.safetensors"));
  for (const char* json : {"", " --json"}) {
    const Result unreadable = run("quantize model --calibrate empty.jpg --out " + out("e") + json);
    EXPECT_EQ(unreadable.status, 1);
    EXPECT_FALSE(fs::exists(folder_.path() / "e"));
  }
  EXPECT_EQ(run("quantize model --calibrate images damaged.png --json --out " + out("f")).lines().at(0).at("image"),
            "damaged.png");
  std::ofstream(folder_.path() / "labels") << "cat\ndog\ntea\n";
  EXPECT_EQ(run(quantize + out("h") + " --labels-file " + out("labels")).lines().at(18).at("labels"), 3);
  const Result swapped = run("quantize --calibrate images some/model --out " + out("g"));
  EXPECT_EQ(swapped.status, 2);
  EXPECT_THAT(swapped.error, HasSubstr("MODEL, before --calibrate, is required"));
}

}  // namespace
}  // namespace gondola
