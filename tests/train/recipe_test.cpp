// What a recipe's keys mean.
#include "train/recipe.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "base/error.h"
#include "tests/support/files.h"

namespace gondola {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
namespace fs = std::filesystem;

class Recipes : public testing::Test {
 protected:
  Recipe read(const std::string& text) { return read_recipe(test::write(folder_.path() / "recipe.toml", text), {}); }
  void refuses(const std::string& text, const std::vector<std::string>& overrides, const std::string& message) {
    const fs::path recipe = test::write(folder_.path() / "recipe.toml", text);
    EXPECT_THAT([&] { read_recipe(recipe, overrides); }, ThrowsMessage<Error>(HasSubstr(message))) << text;
  }
  test::TemporaryFolder folder_;
};

TEST_F(Recipes, ReadEveryKeyIntoItsField) {
  const Recipe recipe = read(R"([model]
name = "small"
embed_dim = 96
vocabulary = "words"
pretrained = "a"
pretrained_image = "b"
pretrained_text = "c"
batch_norm_embeddings = true
export_dtype = "bf16"
[model.image]
image_size = 96
width = 128
heads = 4
patch_size = 16
layers = 5
mlp_width = 300
activation = "quick_gelu"
[model.text]
context_length = 33
width = 192
heads = 6
layers = 7
mlp_width = 500
activation = "gelu_tanh"
[preprocess]
mean = [0.1, 0.2, 0.3]
std = [0.4, 0.5, 0.6]
interpolation = "bilinear"
[augment]
min_crop_area = 0.31
max_aspect_ratio = 1.5
flip_probability = 0.25
max_detail = 2.5
erase_probability = 0.125
[data]
train = ["one", { source = "two", weight = 0.5, max_detail = 3, min_crop_area = 1.0 }]
validation = ["three"]
captions_per_image = 3
max_read_failures = 17
templates = ["a {}", "the {}"]
validation_templates = ["one {}"]
[teacher]
model = "t"
weight = 0.75
[train]
batch_size = 24
micro_batch_size = 6
steps = 1001
learning_rate = 0.001
weight_decay = 0.02
beta1 = 0.7
beta2 = 0.81
epsilon = 1e-4
optimizer = "muon"
muon_lr_factor = 11.0
image_lr_factor = 2.0
text_lr_factor = 3.0
layer_decay = 0.6
schedule = "constant"
warmup_steps = 8
cooldown_steps = 9
gradient_clip = 4.0
spike_guard = 5.0
ema_decay = 0.99
patch_dropout = 0.4
activation_checkpointing = true
shard_optimizer = true
max_scale = 50.0
precision = "bf16"
loss = "sigmoid"
soft_targets = true
seed = 12
save_every_steps = 13
validate_every_steps = 14
threads = 15
device = "cuda:1"
peak_tflops = 16.0
)");
  EXPECT_EQ(recipe.model.name, "small");
  EXPECT_EQ(recipe.model.embed_dim, 96);
  EXPECT_EQ(recipe.vocabulary, "words");
  EXPECT_EQ(recipe.vocab_size, 0);
  EXPECT_EQ(recipe.pretrained + recipe.pretrained_image + recipe.pretrained_text, "abc");
  EXPECT_TRUE(recipe.batch_norm_embeddings);
  EXPECT_EQ(recipe.export_dtype, DType::bfloat16);
  ImageTowerConfig image;
  image.image_size = 96;
  image.width = 128;
  image.heads = 4;
  image.patch_size = 16;
  image.layers = 5;
  image.mlp_width = 300;
  image.activation = Activation::quick_gelu;
  EXPECT_EQ(recipe.model.image, image);
  const TextTowerConfig& text = recipe.model.text;
  EXPECT_EQ(text.context_length, 33);
  EXPECT_EQ(text.width, 192);
  EXPECT_EQ(text.heads, 6);
  EXPECT_EQ(text.layers, 7);
  EXPECT_EQ(text.mlp_width, 500);
  EXPECT_EQ(text.activation, Activation::gelu_tanh);
  EXPECT_THAT(recipe.preprocess.mean, ElementsAre(0.1f, 0.2f, 0.3f));
  EXPECT_THAT(recipe.preprocess.std, ElementsAre(0.4f, 0.5f, 0.6f));
  EXPECT_EQ(recipe.preprocess.interpolation, Interpolation::bilinear);
  EXPECT_EQ(recipe.preprocess.size, 96);
  EXPECT_EQ(recipe.preprocess.library, PreprocessLibrary::torchvision) << "of a model with a bias";

  ASSERT_EQ(recipe.augment.size(), 2u);
  for (const AugmentConfig& augment : recipe.augment) {
    EXPECT_EQ(augment.max_aspect_ratio, 1.5);
    EXPECT_EQ(augment.flip_probability, 0.25);
    EXPECT_EQ(augment.erase_probability, 0.125);
  }
  EXPECT_EQ(recipe.augment[0].min_crop_area, 0.31);
  EXPECT_EQ(recipe.augment[0].max_detail, 2.5);
  EXPECT_EQ(recipe.augment[1].min_crop_area, 1);
  EXPECT_EQ(recipe.augment[1].max_detail, 3);
  ASSERT_EQ(recipe.train.size(), 2u);
  EXPECT_EQ(recipe.train[0].name, "one");
  EXPECT_EQ(recipe.train[0].weight, 1);
  EXPECT_EQ(recipe.train[1].name, "two");
  EXPECT_EQ(recipe.train[1].weight, 0.5);
  EXPECT_THAT(recipe.validation, ElementsAre("three"));
  EXPECT_EQ(recipe.captions_per_image, 3);
  EXPECT_EQ(recipe.max_read_failures, 17);
  EXPECT_THAT(recipe.templates, ElementsAre("a {}", "the {}"));
  EXPECT_THAT(recipe.validation_templates, ElementsAre("one {}"));
  EXPECT_EQ(recipe.teacher, "t");
  EXPECT_EQ(recipe.teacher_weight, 0.75);

  EXPECT_EQ(recipe.batch_size, 24);
  EXPECT_EQ(recipe.micro_batch_size, 6);
  EXPECT_EQ(recipe.steps, 1001);
  EXPECT_EQ(recipe.epochs, 0);
  EXPECT_EQ(recipe.learning_rate, 0.001);
  EXPECT_EQ(recipe.weight_decay, 0.02);
  EXPECT_EQ(recipe.beta1, 0.7);
  EXPECT_EQ(recipe.beta2, 0.81);
  EXPECT_EQ(recipe.epsilon, 1e-4);
  EXPECT_TRUE(recipe.muon);
  EXPECT_EQ(recipe.muon_lr_factor, 11);
  EXPECT_EQ(recipe.image_lr_factor, 2);
  EXPECT_EQ(recipe.text_lr_factor, 3);
  EXPECT_EQ(recipe.layer_decay, 0.6);
  EXPECT_EQ(recipe.schedule, Schedule::constant);
  EXPECT_EQ(recipe.warmup_steps, 8);
  EXPECT_EQ(recipe.cooldown_steps, 9);
  EXPECT_EQ(recipe.gradient_clip, 4);
  EXPECT_EQ(recipe.spike_guard, 5);
  EXPECT_EQ(recipe.ema_decay, 0.99);
  EXPECT_EQ(recipe.patch_dropout, 0.4);
  EXPECT_TRUE(recipe.activation_checkpointing);
  EXPECT_TRUE(recipe.shard_optimizer);
  EXPECT_EQ(recipe.max_scale, 50);
  EXPECT_TRUE(recipe.bf16);
  EXPECT_TRUE(recipe.model.sigmoid_loss);
  EXPECT_TRUE(recipe.soft_targets);
  EXPECT_EQ(recipe.seed, 12u);
  EXPECT_EQ(recipe.save_every_steps, 13);
  EXPECT_EQ(recipe.validate_every_steps, 14);
  EXPECT_EQ(recipe.threads, 15);
  EXPECT_EQ(recipe.device, "cuda:1");
  EXPECT_EQ(recipe.peak_tflops, 16);
}

TEST_F(Recipes, LockTowers) {
  const Recipe recipe =
      read("[data]\ntrain = [\"a\"]\n[train]\nepochs = 1.5\nlock = [\"text\"]\nunlocked_blocks = 2\n");
  EXPECT_FALSE(recipe.lock_image);
  EXPECT_TRUE(recipe.lock_text);
  EXPECT_EQ(recipe.unlocked_blocks, 2);
  EXPECT_EQ(recipe.epochs, 1.5);
  EXPECT_EQ(recipe.steps, 0);
}

/// The defaults of arXiv 2103.00020, table 18, and widths that follow from others.
TEST_F(Recipes, UseResNetDefaultsForAResNet) {
  const Recipe recipe = read(R"([model]
vocab_size = 777
low_pass_stem = true
[model.image]
architecture = "modified_resnet"
image_size = 64
width = 32
stage_blocks = [1, 2, 3, 4]
[model.text]
width = 128
[data]
train = ["a"]
[train]
steps = 1
)");
  EXPECT_EQ(recipe.vocab_size, 777);
  EXPECT_TRUE(recipe.low_pass_stem);
  EXPECT_EQ(recipe.model.image.architecture, ImageArchitecture::modified_resnet);
  EXPECT_EQ(recipe.model.image.heads, 32 * 32 / 64);
  EXPECT_THAT(recipe.model.image.stage_blocks, ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(recipe.model.text.heads, 2);
  EXPECT_EQ(recipe.model.text.mlp_width, 512);
  EXPECT_EQ(recipe.beta2, 0.999);
  EXPECT_EQ(recipe.epsilon, 1e-8);
  EXPECT_EQ(recipe.preprocess.library, PreprocessLibrary::torchvision);
}

/// docs/training.md lists them.
TEST_F(Recipes, HaveTheDefaultsThatAreDocumented) {
  const Recipe recipe = read("[data]\ntrain = [\"a\"]\n[train]\nsteps = 1\n");
  EXPECT_EQ(recipe.model.image, preset("ViT-B-32").image);
  EXPECT_EQ(recipe.preprocess.mean, PreprocessConfig().mean);
  EXPECT_EQ(recipe.preprocess.library, PreprocessLibrary::transformers);
  EXPECT_EQ(recipe.augment.at(0).min_crop_area, 0.9);
  EXPECT_DOUBLE_EQ(recipe.augment.at(0).max_aspect_ratio, 4.0 / 3);
  EXPECT_EQ(recipe.augment.at(0).flip_probability, 0);
  EXPECT_EQ(recipe.export_dtype, DType::float32);
  EXPECT_THAT(recipe.templates, ElementsAre("a photo of a {}."));
  EXPECT_EQ(recipe.captions_per_image, 1);
  EXPECT_EQ(recipe.max_read_failures, 1000);
  EXPECT_EQ(recipe.teacher_weight, 1);
  EXPECT_EQ(recipe.batch_size, 256);
  EXPECT_EQ(recipe.learning_rate, 5e-4);
  EXPECT_EQ(recipe.warmup_steps, 2000);
  EXPECT_EQ(recipe.schedule, Schedule::cosine);
  EXPECT_FALSE(recipe.muon);
  EXPECT_EQ(recipe.muon_lr_factor, 20);
  EXPECT_EQ(recipe.weight_decay, 0.2);
  EXPECT_EQ(recipe.beta1, 0.9);
  EXPECT_EQ(recipe.beta2, 0.98);
  EXPECT_EQ(recipe.epsilon, 1e-6);
  EXPECT_EQ(recipe.max_scale, 100);
  EXPECT_FALSE(recipe.bf16);
  EXPECT_FALSE(recipe.soft_targets);
  EXPECT_EQ(recipe.save_every_steps, 1000);
  EXPECT_EQ(recipe.validate_every_steps, 1000);
  EXPECT_EQ(recipe.device, "cpu");
  EXPECT_EQ(recipe.model.text, preset("ViT-B-32").text);
  EXPECT_THAT(recipe.validation_templates, ElementsAre("a photo of a {}."));
  EXPECT_EQ(recipe.preprocess.interpolation, Interpolation::bicubic);
  EXPECT_FALSE(recipe.model.sigmoid_loss);
  EXPECT_FALSE(recipe.lock_image || recipe.lock_text || recipe.shard_optimizer || recipe.activation_checkpointing);
  for (const double off : {recipe.patch_dropout, recipe.ema_decay, recipe.spike_guard}) EXPECT_EQ(off, 0);
}

/// docs/training.md lists all keys.
TEST_F(Recipes, HaveNoKeyThatIsNotDocumented) {
  const std::string page = read_file(fs::path(GONDOLA_SOURCE_DIR) / "docs" / "training.md");
  for (const char* architecture : {"vit", "modified_resnet"}) {
    const Recipe recipe = read(fmt::format(
        "[model.image]\narchitecture = \"{}\"\n[data]\ntrain = [\"a\"]\n[train]\nsteps = 1\n", architecture));
    EXPECT_GT(recipe.values.size(), 40u);
    for (const auto& [key, value] : recipe.values) {
      if (key == "preprocess.library") continue;  // it follows from the model
      EXPECT_THAT(page, HasSubstr("`" + key.substr(key.rfind('.') + 1) + "`")) << key;
    }
  }
}

TEST_F(Recipes, NameTheKeyThatIsWrong) {
  const std::string rest = "[data]\ntrain = [\"pairs.csv\"]\n[train]\nbatch_size = 8\nsteps = 3\n";
  const std::string good = "[model]\npreset = \"tiny-test\"\nvocabulary = \"words\"\n" + rest;
  refuses("[model", {}, "line 1");
  refuses(good + "speed = 3\n", {}, "unknown key train.speed");
  refuses(good, {"train.learning_raet=1"}, "unknown key train.learning_raet; did you mean train.learning_rate?");
  refuses(good, {"train.batch_size=\"many\""},
          "recipe.toml with --set: train.batch_size has the wrong type, expected a whole number");
  refuses(good + "learning_rate = true\n", {},
          "recipe.toml: train.learning_rate has the wrong type, expected a number");
  for (const char* key : {"train.steps", "train.threads", "data.captions_per_image"})
    refuses(good, {fmt::format("{}=true", key)}, fmt::format("{} has the wrong type, expected a whole number", key));
  refuses(good, {"train.batch_size=3000000000"},
          "train.batch_size is 3000000000, expected a number from -2147483648 to 2147483647");
  refuses(good, {"preprocess.mean=[nan, 0, 0]"}, "preprocess.mean[0] is nan, expected a finite number");
  refuses(good, {"preprocess.std=[1, inf, 1]"}, "preprocess.std[1] is inf, expected a finite number");
  refuses(good, {"data.templates=[\"a {}\", 3]"}, "data.templates[1] has the wrong type, expected a string");
  for (const char* assignment : {"model.embed_dim=256", "model.text.width=64"})
    refuses(good, {assignment}, "cannot be set beside model.preset (--set model.preset=\"\" unsets it)");
  refuses(good, {"data.train=[pairs.csv]"}, "--set data.train=[pairs.csv]: ");
  refuses(good, {"train.batch_size=1"}, "train.batch_size");
  refuses(good, {"train.steps=0"}, "steps or epochs");
  refuses(good, {"model.preset=ViT-Z"}, "ViT-B-32");
  refuses(good, {"train.precision=fp8"}, "expected one of bf16, fp32");
  refuses(good, {"data.train=[]"}, "data.train");
  refuses(good, {"nonsense"}, "section.key=value");
  refuses(good, {"augment.min_crop_area=0"}, "augment.min_crop_area");
  refuses(good, {"augment.max_aspect_ratio=0.2"}, "augment.max_aspect_ratio");
  refuses(good, {"augment.flip_probability=7"}, "augment.flip_probability");
  refuses(good, {"augment.max_detail=-1"}, "augment.max_detail");
  refuses(good, {"train.beta1=2"}, "train.beta1");
  refuses(good, {"train.weight_decay=-1"}, "train.weight_decay");
  refuses(good, {"train.gradient_clip=-1"}, "train.weight_decay and gradient_clip");
  refuses(good, {"preprocess.std=[1, 0, 1]"}, "preprocess.std");
  refuses(good, {"augment.erase_probability=-1"}, "erase_probability");
  refuses(good, {"data.captions_per_image=0"}, "data.captions_per_image");
  refuses(good, {"data.max_read_failures=-1"}, "data.max_read_failures");
  refuses(good, {"data.templates=[]"}, "must not be empty");
  refuses(good, {"data.validation_templates=[]"}, "must not be empty");
  refuses(good, {"teacher.weight=0"}, "teacher.weight");
  refuses(good, {"train.micro_batch_size=-1"}, "train.micro_batch_size");
  refuses(good, {"train.patch_dropout=1"}, "train.patch_dropout must be");
  refuses(good, {"train.patch_dropout=0.5", "model.preset=tiny-test-resnet"}, "has no patches");
  refuses(good, {"train.learning_rate=0"}, "train.learning_rate");
  refuses(good, {"train.epsilon=0"}, "train.epsilon");
  refuses(good, {"train.muon_lr_factor=0"}, "train.muon_lr_factor");
  refuses(good, {"train.image_lr_factor=0"}, "train.image_lr_factor");
  refuses(good, {"train.text_lr_factor=0"}, "train.image_lr_factor and text_lr_factor");
  refuses(good, {"train.layer_decay=1.5"}, "train.layer_decay");
  refuses(good, {"train.unlocked_blocks=-1"}, "train.unlocked_blocks cannot be negative");
  refuses(good, {"train.unlocked_blocks=1"}, "train.unlocked_blocks needs a tower");
  refuses(good, {"train.cooldown_steps=-1"}, "train.cooldown_steps cannot be negative");
  refuses(good, {"train.cooldown_steps=1"}, "train.cooldown_steps needs schedule");
  refuses(good, {"train.spike_guard=1"}, "train.spike_guard");
  refuses(good, {"train.ema_decay=1"}, "train.ema_decay");
  refuses(good, {"train.max_scale=1"}, "train.max_scale");
  refuses(good, {"train.peak_tflops=-1"}, "train.peak_tflops");
  refuses(good, {"train.save_every_steps=0"}, "train.save_every_steps and validate_every_steps");
  refuses(good, {"train.validate_every_steps=0"}, "train.save_every_steps and validate_every_steps");
  refuses(good, {"train.warmup_steps=-1"}, "train.warmup_steps");
  refuses(good, {"train.threads=-1"}, "train.threads");
  refuses(good, {"train.threads=1025"}, "train.threads");
  refuses(good, {"train.epsilon=inf"}, "train.epsilon is inf, expected a finite number");
  refuses(good, {"train.learning_rate=nan"}, "train.learning_rate is nan");
  refuses(good, {"model.vocab_size=513"}, "model.vocab_size");
  refuses(good, {"model.vocab_size=-5"}, "model.vocab_size");
  refuses(good, {"model.vocab_size=600"}, "both vocabulary and vocab_size");
  refuses(good, {"model.batch_norm_embeddings=true", "train.lock=[\"text\"]"}, "of a locked tower");
  const std::string inline_model =  // 32 wide, image features 128
      "[model]\nembed_dim = 32\n[model.image]\narchitecture = \"modified_resnet\"\nimage_size = 64\nwidth = 4\nheads = "
      "2\n"
      "stage_blocks = [1, 1, 1, 1]\n[model.text]\nwidth = 32\nheads = 2\nlayers = 2\n" +
      rest;
  refuses(inline_model, {"model.batch_norm_embeddings=true", "model.embed_dim=64"}, "text width of at least");
  refuses(inline_model, {"model.batch_norm_embeddings=true", "model.embed_dim=256", "model.text.width=256"},
          "image features at least");
  refuses(inline_model, {"model.image.patch_size=8"}, "model.image.patch_size does not belong to a modified_resnet");
  refuses(rest, {"model.image.stage_blocks=[1, 1, 1, 1]"}, "model.image.stage_blocks does not belong to a vit");
  refuses(inline_model, {"model.image.heads=5"}, "image tower of width 128 does not divide into 5 heads");
  const Recipe recipe =
      read_recipe(test::write(folder_.path() / "recipe.toml", good), {"train.learning_rate=0.5", "train.seed=7"});
  EXPECT_EQ(recipe.learning_rate, 0.5);
  EXPECT_EQ(recipe.seed, 7u);
}

/// All of them are complete but for their data, which is not here.
TEST(ShippedRecipes, AreFoundByName) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(GONDOLA_SOURCE_DIR) / "recipes")) {
    if (entry.path().extension() != ".toml") continue;
    const std::string name = entry.path().stem().string();
    const fs::path file = find_recipe(name);
    EXPECT_TRUE(fs::equivalent(file, entry.path())) << name;
    if (name.starts_with("default")) continue;
    const Recipe recipe = read_recipe(file, {"data.train=[\"pairs.csv\"]", "model.vocab_size=1000"});
    EXPECT_GE(recipe.batch_size, 4096) << name;
    ++count;
  }
  EXPECT_GE(count, 6);
  EXPECT_EQ(find_recipe("/dev/null"), "/dev/null") << "as of a shell's <(…)";
  EXPECT_THAT([] { find_recipe("openai-b33"); }, ThrowsMessage<Error>(HasSubstr("openai-b32, openai-rn50")));
}

}  // namespace
}  // namespace gondola
