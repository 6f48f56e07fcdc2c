// What runs take from other models, and which models they refuse.
#include <gmock/gmock.h>
#include <torch/types.h>

#include <cmath>

#include "base/error.h"
#include "tests/train/runs.h"
#include "torch_towers/tensors.h"
#include "train/initial_weights.h"

namespace gondola {
namespace {

using test::equal;
using test::resnet;
using test::Runs;
using test::vit;
using testing::HasSubstr;
using testing::ThrowsMessage;
namespace fs = std::filesystem;

TEST_F(Runs, StartFromTheTowersOfOtherModels) {
  const fs::path image = run("image", recipe(vit, {"train.steps=2", "train.seed=1"}));
  const fs::path text = run("text", recipe(vit, {"train.steps=2", "train.seed=2"}));
  const Recipe both = recipe(
      vit, {"train.steps=1", "train.lock=[\"image\", \"text\"]", "model.pretrained_image=" + (image / "model").string(),
            "model.pretrained_text=" + (text / "model").string()});
  const TensorMap found = weights(run("both", both)), images = weights(image), texts = weights(text);
  for (const auto& [name, tensor] : found)
    EXPECT_TRUE(name == "logit_scale" || equal(tensor, (name.starts_with("visual.") ? images : texts).at(name)))
        << name;

  const auto refuses = [&](const std::vector<std::string>& overrides, const char* message) {
    auto all = overrides;
    all.push_back("train.steps=1");
    const Recipe other = recipe(
        "embed_dim = 32\n[model.image]\nimage_size = 32\npatch_size = 8\nwidth = 64\nheads = 4\n"
        "layers = 2\n[model.text]\nwidth = 32\nheads = 2\nlayers = 3\ncontext_length = 16\n",
        all);
    EXPECT_THAT([&] { Trainer(other, folder_.path() / message, false, test::alone); },
                ThrowsMessage<Error>(HasSubstr(message)));
  };
  refuses({"model.pretrained_image=" + (image / "model").string()}, "vision_cfg.width = 32, the recipe's model 64");
  refuses({"model.pretrained_text=" + (image / "model").string()}, "text_cfg.layers = 2, the recipe's model 3");
}

TEST_F(Runs, RefuseAnInitialModelWithOtherPreprocessing) {
  const fs::path first = run(
      "first", recipe(vit, {"train.steps=1", "preprocess.mean=[0.5, 0.25, 0.5]", "preprocess.interpolation=bilinear"}));
  const std::string initial = "model.pretrained=" + (first / "model").string();
  const auto begin = [&](const std::vector<std::string>& preprocess) {
    std::vector<std::string> overrides = {"train.steps=1", initial};
    overrides.insert(overrides.end(), preprocess.begin(), preprocess.end());
    Trainer(recipe(vit, overrides), folder_.path() / fmt::format("begun-{}", preprocess.size()), false, test::alone);
  };
  EXPECT_THAT([&] { begin({}); }, ThrowsMessage<Error>(HasSubstr("another preprocess.mean than the recipe")));
  EXPECT_THAT([&] { begin({"preprocess.mean=[0.5, 0.5, 0.5]"}); },
              ThrowsMessage<Error>(HasSubstr("another preprocess.interpolation than the recipe")));
  EXPECT_NO_THROW(begin({"preprocess.mean=[0.5, 0.5, 0.5]", "preprocess.interpolation=bicubic"})) << "as is said";
}

TEST_F(Runs, RefuseAnInitialModelWithAnotherResizeMode) {
  const fs::path first = run("first", recipe(vit, {"train.steps=1", "preprocess.resize_mode=squash"}));
  EXPECT_EQ(load_model_files((first / "model").string()).preprocess.resize_mode, ResizeMode::squash);
  EXPECT_THAT(
      [&] {
        Trainer(recipe(vit, {"train.steps=1", "model.pretrained=" + (first / "model").string()}),
                folder_.path() / "begun", false, test::alone);
      },
      ThrowsMessage<Error>(HasSubstr("another preprocess.resize_mode than the recipe")));
}

TEST_F(Runs, RefuseInitialModelsThatLackAWeight) {
  const fs::path model = run("first", recipe(vit, {"train.steps=1"})) / "model";
  const fs::path file = model / "model.safetensors";
  const TensorMap whole = read_safetensors(file);
  for (const auto& [name, schema_name] :
       {std::pair("encoder.layers.0.mlp.fc1.weight", "visual.transformer.resblocks.0.mlp.c_fc.weight"),
        {"embeddings.position_embedding.weight", "visual.positional_embedding"}}) {
    TensorMap weights = whole;
    weights.erase(fmt::format("vision_model.{}", name));
    write_safetensors(file, weights, {{"format", "pt"}});
    EXPECT_THAT(
        [&] {
          Trainer(recipe(vit, {"train.steps=1", "model.pretrained=" + model.string()}), folder_.path() / "begun", false,
                  test::alone);
        },
        ThrowsMessage<Error>(HasSubstr(fmt::format("{} is missing", schema_name))));
  }
}

/// With a bias of -10 and a softmax's scale, every pair would be taken for a certain match or mismatch.
TEST_F(Runs, StartASigmoidLossAtItsOwnScale) {
  const std::string initial = "model.pretrained=" + (run("first", recipe(vit, {"train.steps=1"})) / "model").string();
  const fs::path begun =
      run("begun", recipe(vit, {"train.steps=1", "train.loss=sigmoid", "train.learning_rate=1e-9", initial}));
  EXPECT_NEAR(to_floats(weights(begun).at("logit_scale"))[0], std::log(10), 1e-4);
}

/// transformers and open_clip then pool at that token, not at the largest id.
TEST_F(Runs, PoolAtTheVocabularysEndToken) {
  const fs::path vocabulary = folder_.path() / "words";
  const ClipTokenizer usual = ClipTokenizer::load(test::golden("cli/model"));
  Json ids;
  const int count = usual.size();
  for (int id = 0; id < count; ++id) ids[usual.token(id)] = (id + 4) % count;  // its end token, the last, becomes 3
  fs::create_directories(vocabulary);
  test::write(vocabulary / "vocab.json", ids.dump());
  fs::copy_file(test::golden("cli/model") / "merges.txt", vocabulary / "merges.txt");
  const std::string given = "model.vocabulary=" + vocabulary.string();
  for (const char* model : {vit, resnet}) {
    const fs::path trained = run(model == vit ? "vit" : "resnet", recipe(model, {"train.steps=1", given}));
    const TextTowerConfig text = load_model_files((trained / "model").string()).config.text;
    EXPECT_EQ(text.pooling, TextPooling::end_token);
    EXPECT_EQ(text.end_id, 3);
  }
}

TEST_F(Runs, KeepTheVocabularyOfTheInitialModel) {
  const std::string initial = (run("initial", recipe(vit, {"train.steps=1"})) / "model").string();
  const fs::path file = test::write(folder_.path() / "recipe.toml",
                                    fmt::format("[model]\n{}\npretrained = \"{}\"\n[data]\ntrain = [\"{}\"]\n[train]\n"
                                                "batch_size = 8\nsteps = 1\nthreads = 1\n",
                                                vit, initial, test::write_pairs(folder_.path()).string()));
  const fs::path fine_tuned = run("fine-tuned", read_recipe(file, {}));
  EXPECT_EQ(read_file(fine_tuned / "model" / "merges.txt"), read_file(fs::path(initial) / "merges.txt"));
  EXPECT_THAT(
      [&] { Trainer(read_recipe(file, {"model.vocab_size=530"}), folder_.path() / "other", false, test::alone); },
      ThrowsMessage<Error>(HasSubstr("set model.vocabulary to " + initial + " and model.vocab_size to 0")));
}

TEST_F(Runs, ResizeThePositionsOfAnotherImageSize) {
  const fs::path small = run("small", recipe(vit, {"train.steps=1"}));
  const Recipe large = recipe(
      "embed_dim = 32\n[model.image]\nimage_size = 48\npatch_size = 8\nwidth = 32\nheads = 2\n"
      "layers = 2\n[model.text]\nwidth = 32\nheads = 2\nlayers = 2\ncontext_length = 16\n",
      {"train.steps=1", "train.lock=[\"image\"]", "model.pretrained_image=" + (small / "model").string()});
  const TensorMap found = weights(run("large", large)), start = weights(small);
  const std::string name = "visual.positional_embedding";
  EXPECT_EQ(found.at(name).shape, (std::vector<std::int64_t>{1 + 6 * 6, 32}));
  EXPECT_TRUE(torch::equal(to_torch(found.at(name)), resize_positions(to_torch(start.at(name)), 6)));
  EXPECT_TRUE(equal(found.at("visual.conv1.weight"), start.at("visual.conv1.weight")));
}

}  // namespace
}  // namespace gondola
