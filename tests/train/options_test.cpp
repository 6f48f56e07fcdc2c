// The options of a recipe beyond plain steps, tested by whole runs of a few steps.
#include <gmock/gmock.h>
#include <torch/types.h>

#include <algorithm>
#include <limits>
#include <set>

#include "base/error.h"
#include "checkpoint/model_files.h"
#include "checkpoint/safetensors.h"
#include "data/sample_order.h"
#include "tests/train/ranks.h"
#include "tests/train/runs.h"
#include "torch_towers/clip_model.h"
#include "torch_towers/tensors.h"
#include "train/trainer.h"

namespace gondola {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;
namespace fs = std::filesystem;

using test::equal;
using test::resnet;
using test::Runs;
using test::vit;

TEST_F(Runs, CanBeExtendedToMoreSteps) {
  const std::vector<std::string> common = {"train.schedule=constant"};
  const auto with_steps = [&](int steps) {
    auto overrides = common;
    overrides.push_back(fmt::format("train.steps={}", steps));
    return recipe(vit, overrides);
  };
  run("longer", with_steps(4));
  const fs::path longer = run("longer", with_steps(9), /*resume=*/true), straight = run("straight", with_steps(9));
  EXPECT_EQ(test::losses(longer), test::losses(straight));
  for (const auto& [name, tensor] : weights(straight)) EXPECT_TRUE(equal(weights(longer).at(name), tensor)) << name;
  EXPECT_THAT([&] { run("longer", with_steps(8), true); }, ThrowsMessage<Error>(HasSubstr("9 steps are done")));
  EXPECT_THAT([&] { run("longer", recipe(vit, {"train.steps=10"}), true); },
              ThrowsMessage<Error>(HasSubstr("train.schedule = constant")));
}

/// A resumed run traces the first steps after its checkpoint.
TEST_F(Runs, TraceTheirFirstSteps) {
  const fs::path path = run("run", recipe(vit, {"train.schedule=constant", "train.steps=3"}));
  const Recipe longer = recipe(vit, {"train.schedule=constant", "train.steps=7"});
  EXPECT_TRUE(Trainer(longer, path, /*resume=*/true, test::alone, /*traced_steps=*/2).run());
  std::string text = read_file(path / "trace.json");
  const Json events = Json::parse(text.replace(text.size() - 2, 2, "]"));
  EXPECT_EQ(std::count_if(events.begin(), events.end(),
                          [](const Json& event) { return event.at("name") == "update weights"; }),
            2);
}

TEST_F(Runs, ExportTheAverageOfTheWeights) {
  const fs::path averaged = run("averaged", recipe(vit, {"train.steps=5", "train.ema_decay=0.99"}));
  const fs::path plain = run("plain", recipe(vit, {"train.steps=5"}));
  EXPECT_EQ(test::losses(averaged), test::losses(plain));  // training goes on from the weights themselves
  const TensorMap state = checkpoint(averaged, 5), last = checkpoint(plain, 5);
  for (const auto& [name, tensor] : weights(averaged)) {
    EXPECT_TRUE(equal(tensor, state.at("average.model." + name))) << name;
    EXPECT_TRUE(equal(last.at("model." + name), state.at("model." + name))) << name;
  }
  EXPECT_FALSE(equal(state.at("average.model.text_projection"), state.at("model.text_projection")));
}

/// Compares with (embedding − mean) / deviation, computed by PyTorch from the checkpoint.
TEST_F(Runs, ExportTheirEmbeddingNorms) {
  for (const char* architecture : {vit, resnet}) {
    const fs::path path =
        run(architecture, recipe(architecture, {"train.steps=4", "model.batch_norm_embeddings=true"}));
    const ModelFiles files = load_model_files((path / "model").string());
    const TensorMap state = checkpoint(path, 4);
    TensorMap trained;
    for (const auto& [name, tensor] : state)
      if (name.starts_with("model.")) trained[name.substr(name.find('.') + 1)] = tensor;
    ClipModel exported(files.config), inner(files.config);
    exported.load_weights(files.weights);
    inner.load_weights(trained);
    exported.eval();
    inner.eval();
    const torch::NoGradGuard no_gradients;
    torch::manual_seed(3);
    const auto expect_normed = [&](const at::Tensor& found, const at::Tensor& embeddings, const std::string& norm) {
      const auto mean = to_torch(state.at(norm + ".running_mean")),
                 variance = to_torch(state.at(norm + ".running_var"));
      EXPECT_LT((found - (embeddings - mean) / (variance + 1e-5).sqrt()).abs().max().item<double>(), 1e-3) << norm;
      EXPECT_GT((embeddings - found).abs().max().item<double>(), 0.1) << norm;
    };
    const int size = files.config.image.image_size;
    const auto pixels = torch::randn({3, 3, size, size});
    const auto ids = torch::randint(0, files.config.text.vocab_size, {3, 9}, torch::kLong);
    expect_normed(exported.encode_images(pixels), inner.encode_images(pixels), "image_norm");
    expect_normed(exported.encode_texts(ids), inner.encode_texts(ids), "text_norm");
  }
}

TEST_F(Runs, ExportThePreprocessingTheyTrainWith) {
  for (const auto& [name, architecture, loss] :
       {std::tuple("vit", vit, "softmax"), {"sigmoid", vit, "sigmoid"}, {"resnet", resnet, "softmax"}}) {
    const Recipe one = recipe(architecture, {"train.steps=1", std::string("train.loss=") + loss});
    EXPECT_EQ(load_model_files((run(name, one) / "model").string()).preprocess, one.preprocess) << name;
  }
}

/// After a validation, a ResNet's batch norms are back in training mode, and have learnt nothing from it.
TEST_F(Runs, LearnTheSameWithoutAValidation) {
  const std::string validation = "data.validation=[\"" + (folder_.path() / "pairs.csv").string() + "\"]";
  const fs::path with = run("with", recipe(resnet, {"train.steps=5", "train.validate_every_steps=2", validation}));
  const fs::path without = run("without", recipe(resnet, {"train.steps=5"}));
  EXPECT_EQ(test::losses(with), test::losses(without));
  for (const auto& [name, tensor] : weights(without)) EXPECT_TRUE(equal(weights(with).at(name), tensor)) << name;
  std::vector<int> validated;
  for (const Json& line : test::metrics(with))
    if (line.contains("validation")) validated.push_back(line.at("step").get<int>());
  EXPECT_THAT(validated, testing::ElementsAre(2, 4, 5));
}

/// That is the average of the weights, if there is one.
TEST_F(Runs, ValidateWhatTheyExport) {
  const std::string pairs = (folder_.path() / "pairs.csv").string();
  const Recipe averaged = recipe(vit, {"train.steps=12", "train.ema_decay=0.99", "train.learning_rate=3e-3",
                                       "data.validation=[\"" + pairs + "\"]"});
  const fs::path path = run("averaged", averaged);
  const ModelFiles files = load_model_files((path / "model").string());
  ClipModel model(files.config);
  model.load_weights(files.weights);
  Recipe exported = averaged;
  exported.model = files.config;
  const torch::NoGradGuard no_gradients;
  const auto expected = validate(*open_dataset(pairs), ClipTokenizer::load(test::golden("cli/model")), exported,
                                 {[&](const at::Tensor& pixels) { return model.encode_images(pixels); },
                                  [&](const at::Tensor& ids) { return model.encode_texts(ids); }})
                            .value();
  const Json found = test::metrics(path).back();
  for (const auto& [name, value] : expected) EXPECT_EQ(found.at(name).get<double>(), value) << name;
  EXPECT_FALSE(equal(checkpoint(path, 12).at("model.visual.proj"), files.weights.at("visual.proj")));
}

TEST_F(Runs, KeepTheNewestTwoCheckpoints) {
  const fs::path path = run("run", recipe(vit, {"train.steps=5", "train.save_every_steps=2"}));
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(path / "checkpoints")) names.insert(entry.path().filename());
  EXPECT_THAT(names, testing::ElementsAre("step-00000004.safetensors", "step-00000005.safetensors"));
}

/// Eight pictures are two batches of four.
TEST_F(Runs, MayBeMeasuredInEpochs) {
  const fs::path path = run("epochs", recipe(vit, {"train.batch_size=4", "train.epochs=2.5"}));
  EXPECT_EQ(test::losses(path).size(), 5u);
}

/// Clips to gradients that are negligible against epsilon, so that the weights do not move.
TEST_F(Runs, ClipTheirGradients) {
  const auto projection = [&](const char* name, const char* option) {
    const fs::path path = run(name, recipe(vit, {"train.steps=3", "train.weight_decay=0", option}));
    EXPECT_GT(test::metrics(path).at(0).at("gradient_norm"), 1e-3) << "before it is clipped";
    return to_torch(weights(path).at("visual.proj"));
  };
  const at::Tensor start = projection("start", "train.learning_rate=1e-20");
  const auto moved = [&](const char* name, const char* option) {
    return (projection(name, option) - start).abs().max().item<double>();
  };
  EXPECT_GT(moved("free", "train.gradient_clip=0"), 1e-4);
  EXPECT_LT(moved("clipped", "train.gradient_clip=1e-12"), 1e-6);
}

TEST_F(Runs, StoreTheirModelInTheRequestedType) {
  for (const auto& [name, type] : {std::pair("fp16", DType::float16), {"bf16", DType::bfloat16}}) {
    const fs::path path = run(name, recipe(vit, {"train.steps=1", std::string("model.export_dtype=") + name}));
    EXPECT_EQ(read_safetensors(path / "model" / "model.safetensors").at("visual_projection.weight").type, type);
  }
}

TEST_F(Runs, DrawTheirSourcesByWeight) {
  const std::string pairs = test::write_pairs(folder_.path()).string();
  const Recipe mixed =
      recipe(vit, {"train.steps=1", fmt::format("data.train=[{{source='{0}', weight=3.0}}, {{source='{0}', "
                                                "weight=0.5, flip_probability=1.0}}]",
                                                pairs)});
  const auto data = open_datasets(mixed.train);
  const SampleOrder order(*data, 1);
  std::size_t first = 0;
  for (std::size_t i = 0; i < order.size(); ++i) first += order.at(0, i).index < data->size() / 2;
  EXPECT_EQ(first, 3u * 8);
  EXPECT_EQ(order.size() - first, 8u / 2);
  EXPECT_EQ(mixed.augment.at(0).flip_probability, 0);
  EXPECT_EQ(mixed.augment.at(1).flip_probability, 1);
}

/// A skipped step leaves no trace in weights, moments, averages or the statistics of batch norms.
TEST_F(Runs, LeaveNoTraceOfASkippedStep) {
  const Recipe guarded = recipe(
      resnet, {"train.steps=3", "train.spike_guard=100", "train.ema_decay=0.9", "model.batch_norm_embeddings=true"});
  const fs::path whole = run("whole", guarded), spiked = folder_.path() / "spiked";
  Trainer trainer(guarded, spiked, false, test::alone);
  const int size = guarded.model.image.image_size;
  const Batch poison = {torch::full({8, 3, size, size}, std::numeric_limits<float>::quiet_NaN()),
                        torch::full({8, 3}, 5, torch::kLong), torch::arange(8, torch::kLong).unsqueeze(1),
                        torch::arange(8, torch::kLong)};
  EXPECT_FALSE(std::isfinite(trainer.step(poison, 1e-3).loss));
  EXPECT_TRUE(trainer.run());
  for (const auto& [name, tensor] : checkpoint(whole, 3))
    EXPECT_TRUE(name == "spike_guard" || equal(checkpoint(spiked, 3).at(name), tensor)) << name;
  EXPECT_EQ(test::metrics(spiked).at(2).at("skipped"), 1);

  Trainer unguarded(recipe(resnet, {"train.steps=3"}), folder_.path() / "unguarded", false, test::alone);
  EXPECT_THAT([&] { unguarded.step(poison, 1e-3); },
              ThrowsMessage<Error>(HasSubstr("nan and the norm of its gradients")));
}

TEST_F(Runs, ReportTheirCurvesEvenIfTheyDiverge) {
  const fs::path diverged = folder_.path() / "diverged";
  Trainer trainer(recipe(resnet, {"train.steps=9", "train.learning_rate=1e30"}), diverged, false, test::alone);
  EXPECT_THROW(trainer.run(), Error);
  EXPECT_THAT(read_file(diverged / "report.html"), HasSubstr("<figcaption>loss"));
}

TEST_F(Runs, WarnAboutDoubtfulSettings) {
  testing::internal::CaptureStderr();
  run("doubtful",
      recipe(vit, {"train.steps=3", "train.schedule=constant", "train.cooldown_steps=2", "train.lock=[\"image\"]"}));
  const std::string doubtful = testing::internal::GetCapturedStderr();
  EXPECT_THAT(doubtful, HasSubstr("drops right after its warm-up: train.warmup_steps 2 and cooldown_steps 2 are"));
  EXPECT_THAT(
      doubtful,
      HasSubstr("the image tower is locked with random weights: neither model.pretrained nor model.pretrained_image"));
  testing::internal::CaptureStderr();
  run("plain", recipe(vit, {"train.steps=4", "train.schedule=constant", "train.cooldown_steps=2"}));
  EXPECT_THAT(testing::internal::GetCapturedStderr(), Not(AnyOf(HasSubstr("drops right"), HasSubstr("locked"))));
}

/// The run is refused before its folder records which samples it was started with.
TEST_F(Runs, AreRefusedIfRanksDiffer) {
  const Recipe one = recipe(vit, {"train.steps=1", "train.threads=2"});
  const auto expect_difference = [&](const char* what, const std::string& override) {
    const Recipe other = recipe(vit, {"train.steps=1", override});
    test::on_ranks(2, [&](Communicator& communicator) {
      EXPECT_THAT([&] { Trainer(communicator.rank() == 0 ? one : other, folder_.path() / "run", false, communicator); },
                  ThrowsMessage<Error>(HasSubstr(fmt::format("{} of the ranks differ", what))));
    });
  };
  const std::string pairs = (folder_.path() / "pairs.csv").string();
  expect_difference("training sets", fmt::format("data.train=[\"{0}\", \"{0}\"]", pairs));
  expect_difference("recipes", "train.seed=3");
  EXPECT_FALSE(fs::exists(folder_.path() / "run"));
  expect_difference("vocabularies", "model.vocabulary=" + test::golden("text").string());
}

/// Ranks may find other models, for example in caches that differ between machines.
TEST_F(Runs, BeginWithTheModelsOfRankZero) {
  const auto beginning_with = [&](const char* name, const char* seed) {
    const std::string model = (run(name, recipe(vit, {"train.steps=1", seed})) / "model").string();
    return recipe(vit, {"train.steps=3", "model.pretrained=" + model, "teacher.model=" + model, "teacher.weight=0.5"});
  };
  const Recipe first = beginning_with("first", "train.seed=1"), other = beginning_with("other", "train.seed=2");
  const auto alone = test::losses(run("alone", first));
  test::on_ranks(2, [&](Communicator& communicator) {
    EXPECT_TRUE(Trainer(communicator.rank() == 0 ? first : other, folder_.path() / "two", false, communicator).run());
  });
  const auto found = test::losses(folder_.path() / "two");
  ASSERT_EQ(found.size(), alone.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], alone[i], 1e-4 * alone[i]) << i;
}

/// This happens on machines that do not share the run's folder.
TEST_F(Runs, AreRefusedIfTheCheckpointsOfRanksDiffer) {
  const fs::path whole = run("whole", recipe(vit, {"train.steps=1"}));
  const Recipe longer = recipe(vit, {"train.steps=2"});
  test::on_ranks(2, [&](Communicator& communicator) {
    const fs::path own = communicator.rank() == 0 ? whole : folder_.path() / "none";
    Trainer trainer(longer, own, true, communicator);
    EXPECT_THAT([&] { trainer.run(); }, ThrowsMessage<Error>(HasSubstr("checkpoints of the ranks differ")));
  });
}

class LockedTowers : public Runs, public testing::WithParamInterface<const char*> {};

TEST_P(LockedTowers, KeepEveryBit) {
  const fs::path start = run("start", recipe(GetParam(), {"train.steps=1"}));
  const std::string initial = "model.pretrained=" + (start / "model").string();
  const auto locked = [&](const char* name, const std::string& lock, int unlocked) {
    return weights(run(name, recipe(GetParam(), {"train.steps=3", initial, "train.lock=[\"" + lock + "\"]",
                                                 fmt::format("train.unlocked_blocks={}", unlocked)})));
  };
  const TensorMap before = weights(start);
  const TensorMap image = locked("image", "image", 0), text = locked("text", "text", 0),
                  end = locked("end", "image", 1);
  for (const auto& [name, tensor] : before) {
    if (name == "logit_scale") continue;
    const bool visual = name.starts_with("visual.");
    const bool last = name.find("visual.layer4.") == 0 || name.find("visual.attnpool.") == 0 ||
                      name.find("visual.transformer.resblocks.1.") == 0 || name.find("visual.ln_post") == 0 ||
                      name == "visual.proj";
    // The key bias has no gradient but rounding errors; only in the ViT is it part of a larger tensor.
    if (name == "visual.attnpool.k_proj.bias" || name.ends_with("num_batches_tracked")) continue;
    EXPECT_EQ(equal(image.at(name), tensor), visual) << name;
    EXPECT_EQ(equal(text.at(name), tensor), !visual) << name;
    EXPECT_EQ(equal(end.at(name), tensor), visual && !last) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, LockedTowers, testing::Values(vit, resnet),
                         [](const auto& model) { return model.param == vit ? "Vit" : "ResNet"; });

/// A student learns from its teacher without labels: the divergence falls, and a student that starts as a copy of its
/// teacher has nothing to learn.
TEST_F(Runs, LearnFromATeacher) {
  const std::string teacher = (run("teacher", recipe(vit, {"train.steps=20"})) / "model").string();
  const auto taught = [&](const char* name, std::vector<std::string> overrides) {
    overrides.insert(overrides.end(), {"train.steps=20", "teacher.model=" + teacher, "train.micro_batch_size=3"});
    return test::losses(run(name, recipe(vit, overrides)));
  };
  const auto same = taught("same", {"model.pretrained=" + teacher, "train.learning_rate=1e-12"});
  EXPECT_LT(same.front(), 1e-5);
  const auto student = taught("student", {"train.seed=5"});
  EXPECT_GT(student.front(), 10 * same.front());
  EXPECT_LT(student.back(), 0.5 * student.front());
  const auto mixed = taught("mixed", {"train.seed=5", "teacher.weight=0.25"});
  const auto alone = test::losses(run("alone", recipe(vit, {"train.seed=5", "train.steps=1"})));
  EXPECT_NEAR(mixed.front(), 0.75 * alone.front() + 0.25 * student.front(), 1e-4);
  const auto with_bias = taught("with_bias", {"train.seed=5", "train.loss=sigmoid"});  // only pairs train the bias
  EXPECT_LT(with_bias.back(), 0.5 * with_bias.front());

  const Recipe other = recipe(resnet, {"train.steps=1", "teacher.model=" + teacher});
  EXPECT_THAT([&] { Trainer(other, folder_.path() / "other", false, test::alone); },
              ThrowsMessage<Error>(HasSubstr("image_size = 32, the recipe's model 64")));
}

/// A teacher with another normalisation is shown the same picture.
TEST_F(Runs, ShowATeacherItsOwnNormalisation) {
  const std::string teacher = (run("teacher", recipe(vit, {"train.steps=1"})) / "model").string();
  const auto encoded = [&](std::vector<std::string> overrides) {
    overrides.insert(overrides.end(), {"train.steps=1", "teacher.model=" + teacher});
    Recipe one = recipe(vit, overrides);
    const ClipTokenizer tokenizer = ClipTokenizer::load(test::golden("cli/model"));
    one.model.text.vocab_size = tokenizer.size();
    const Teacher model(one, tokenizer, test::alone);
    const auto grey = torch::full({1, 3, 32, 32}, 0.25);
    const auto of_channels = [](const std::array<float, 3>& v) {
      return torch::tensor({v[0], v[1], v[2]}).view({1, 3, 1, 1});
    };
    const auto pixels = (grey - of_channels(one.preprocess.mean)) / of_channels(one.preprocess.std);
    const auto zero = torch::zeros({1}, torch::kLong);
    return model.encode({pixels, torch::full({1, 3}, 5, torch::kLong), zero.unsqueeze(1), zero}).images;
  };
  const auto own = encoded({}), shifted = encoded({"preprocess.mean=[0.5,0.4,0.3]", "preprocess.std=[0.5,0.6,0.7]"});
  EXPECT_LT((own - shifted).abs().max().item<double>(), 1e-5);
}

TEST_F(Runs, WriteTheInterpolationOfInference) {
  for (const char* architecture : {vit, resnet}) {
    const Recipe bilinear = recipe(architecture, {"train.steps=1", "preprocess.interpolation=\"bilinear\""});
    const ModelFiles model = load_model_files((run(architecture, bilinear) / "model").string());
    EXPECT_EQ(model.preprocess.interpolation, Interpolation::bilinear);
  }
}

/// The finest stripes, alternating from pixel to pixel, vanish in the first convolution; plain grey does not.
TEST_F(Runs, KeepTheirLowPassStem) {
  const Recipe blurred = recipe(resnet, {"train.steps=3", "model.low_pass_stem=true"});
  const fs::path start = run("blurred", blurred);
  const auto stem = to_torch(weights(start).at("visual.conv1.weight"));
  const auto alternating = torch::tensor({1.f, -1.f, 1.f});
  const double size = stem.abs().max().item<double>();
  for (const int axis : {2, 3}) {
    const auto stripes = alternating.view(axis == 2 ? at::IntArrayRef{3, 1} : at::IntArrayRef{1, 3});
    EXPECT_LT((stem * stripes).sum({2, 3}).abs().max().item<double>(), 1e-6 * size);
  }
  EXPECT_GT(stem.sum({2, 3}).abs().max().item<double>(), size);
  const std::string low_pass = "model.low_pass_stem=true";
  const auto continued = [&](const fs::path& from) {
    return recipe(resnet, {"train.steps=1", low_pass, "model.pretrained=" + (from / "model").string()});
  };
  const auto same = weights(run("continued", continued(start))).at("visual.conv1.weight");
  EXPECT_TRUE(torch::equal(to_torch(same), stem));
  EXPECT_THAT([&] { run("refused", continued(run("sharp", recipe(resnet, {"train.steps=1"})))); },
              ThrowsMessage<Error>(HasSubstr("not the blur")));
  EXPECT_THAT([&] { recipe(vit, {"train.steps=3", low_pass}); }, ThrowsMessage<Error>(HasSubstr("has no stem")));
}

TEST_F(Runs, LeaveAReportOfTheirCurves) {
  const fs::path finished =
      run("finished",
          recipe(vit, {"train.steps=3", "data.validation=[\"" + (folder_.path() / "pairs.csv").string() + "\"]"}));
  const std::string html = read_file(finished / "report.html");
  for (const char* part :
       {"<h1>finished</h1>", "<figcaption>loss", "<figcaption>mfu", "<figcaption>image_to_text_recall@1",
        "<th>train.steps</th><td>3</td>", "3 of 3", "<th>loss of chance</th><td>2.079</td>"})  // ln 8
    EXPECT_THAT(html, HasSubstr(part));
}

}  // namespace
}  // namespace gondola
