#include "checkpoint/model_files.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "checkpoint/safetensors.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/files.h"
#include "tests/support/mutate.h"

namespace gondola {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;

/// GELU and OpenAI's QuickGELU have the same weights.
TEST(SingleFile, NeedsAConfigurationUnlessItIsOpenAIs) {
  for (const auto& [file, kind] : {std::pair("models/vit_state_dict.pt", "a bare state dict"),
                                   std::pair("checkpoint/traced.pt", "a TorchScript archive that is not OpenAI's")})
    EXPECT_THAT([&] { load_model_files(test::golden(file).string()); },
                ThrowsMessage<Error>(AllOf(HasSubstr(kind), HasSubstr("--config"))));
}

TEST(SingleFile, MayBeSafetensorsOfAnyName) {
  const test::TemporaryFolder folder;
  const fs::path model = test::golden("models/vit_open_clip"), blob = folder.path() / "blob";
  fs::copy_file(model / "open_clip_model.safetensors", blob);
  EXPECT_EQ(load_model_files(blob.string(), model / "open_clip_config.json").weights.size(),
            load_model_files(model.string()).weights.size());
}

/// Such as a shell's <(…).
TEST(SingleFile, MayHaveAConfigurationFromAPipe) {
  const test::TemporaryFolder folder;
  const fs::path pipe = folder.path() / "pipe", json = test::golden("models/vit_state_dict.json");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(pipe) << read_file(json); });
  const std::string weights = test::golden("models/vit_state_dict.pt").string();
  EXPECT_EQ(load_model_files(weights, pipe).config.embed_dim, load_model_files(weights, json).config.embed_dim);
  writer.join();
}

TEST(SingleFile, RequiresQuickGeluForOpenAIsFiles) {
  EXPECT_THAT(
      [] {
        load_model_files(test::golden("models/vit_openai.pt").string(), test::golden("models/vit_state_dict.json"));
      },
      ThrowsMessage<Error>(HasSubstr("QuickGELU")));
}

/// open_clip falls back to these names where none of its own exist.
TEST(OpenClipFolder, FindsItsWeightsUnderFallbackNamesInOrder) {
  const test::TemporaryFolder folder;
  const fs::path model = folder.path() / "model";
  fs::copy(test::golden("models/vit_open_clip"), model, fs::copy_options::recursive);
  for (const char* name : {"open_clip_pytorch_model.pth", "model.safetensors", "pytorch_model.bin", "model.pth"}) {
    fs::rename(load_model_files(model.string()).source, model / name);
    EXPECT_EQ(load_model_files(model.string()).family, Family::open_clip) << name;
    EXPECT_EQ(load_model_files((model / name).string()).family, Family::open_clip) << name;
  }
  const std::string weights = read_file(model / "model.pth");
  const char* const in_order[] = {"open_clip_model.safetensors", "open_clip_pytorch_model.safetensors",
                                  "open_clip_pytorch_model.bin", "open_clip_pytorch_model.pth",
                                  "model.safetensors",           "pytorch_model.bin",
                                  "pytorch_model.pth",           "model.pth"};
  for (const char* name : in_order) test::write(model / name, weights);
  for (const char* name : in_order) {
    EXPECT_EQ(load_model_files(model.string()).source.filename(), name);
    fs::remove(model / name);
  }
  EXPECT_THAT([&] { load_model_files(model.string()); }, ThrowsMessage<Error>(HasSubstr("has none of")));
}

/// open_clip's training adds the bias with --siglip, which no configuration shows.
TEST(OpenClipFolder, HasASigmoidLossIfItHasALogitBias) {
  const test::TemporaryFolder folder;
  const fs::path model = folder.path() / "model", config = model / "open_clip_config.json";
  fs::copy(test::golden("models/vit_custom_text"), model, fs::copy_options::recursive);
  Json json = parse_json(read_file(config), "config");
  ASSERT_EQ(json["model_cfg"].erase("init_logit_bias"), 1u);
  std::ofstream(config) << json;
  EXPECT_TRUE(load_model_files(model.string()).config.sigmoid_loss);
  EXPECT_FALSE(load_model_files(test::golden("models/vit_open_clip").string()).config.sigmoid_loss);
}

class HuggingFaceFolder : public testing::Test {
 protected:
  HuggingFaceFolder() { fs::copy(test::golden("cli") / "model", folder_, fs::copy_options::recursive); }

  void write(const char* name, const std::string& text) { std::ofstream(folder_ / name) << text; }
  ModelFiles load() const { return load_model_files(folder_.string()); }
  /// hf_tokenizer_name in open_clip's configuration of this model with such a vocabulary.
  std::string tokenizer_named_for_open_clip(const ClipTokenizer& tokenizer, int vocab_size) const {
    ModelFiles model = load();
    model.family = Family::open_clip;
    model.config.text.vocab_size = vocab_size;
    const fs::path out = temporary_.path() / "out";
    fs::remove_all(out);
    write_model_folder(out, model, &tokenizer, std::nullopt);
    const Json json = parse_json(read_file(out / "open_clip_config.json"), "config");
    return json.at("model_cfg").at("text_cfg").value("hf_tokenizer_name", "");
  }

  test::TemporaryFolder temporary_;
  const fs::path folder_ = temporary_.path() / "model";
};

TEST_F(HuggingFaceFolder, UsesTransformersPreprocessingUnlikeOtherLayouts) {
  EXPECT_EQ(load().preprocess.library, PreprocessLibrary::transformers);
  for (const char* other : {"vit_open_clip", "resnet_open_clip", "vit_openai.pt"})
    EXPECT_EQ(load_model_files((test::golden("models") / other).string()).preprocess.library,
              PreprocessLibrary::torchvision)
        << other;
}

/// transformers' CLIPProcessor.save_pretrained: version 5 writes no preprocessor_config.json.
TEST_F(HuggingFaceFolder, ReadsAnImageProcessorNestedInTheProcessor) {
  const int size = load().preprocess.size;
  write("processor_config.json",
        fmt::format(R"({{"image_processor": {{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25],
                         "resample": 2, "size": {{"shortest_edge": {0}}}, "crop_size": {{"height": {0}, "width": {0}}},
                         "image_processor_type": "CLIPImageProcessor"}},
                         "processor_class": "CLIPProcessor"}})",
                    size));
  for (const bool alone : {false, true}) {
    if (alone) fs::remove(folder_ / "preprocessor_config.json");
    const PreprocessConfig preprocess = load().preprocess;
    EXPECT_EQ(preprocess.mean, (std::array{0.5f, 0.5f, 0.5f})) << alone;
    EXPECT_EQ(preprocess.std, (std::array{0.25f, 0.25f, 0.25f})) << alone;
    EXPECT_EQ(preprocess.interpolation, Interpolation::bilinear) << alone;
  }
}

/// A processor's other settings do not replace those of its image processor's own file.
TEST_F(HuggingFaceFolder, AcceptsAProcessorWithoutAnImageProcessor) {
  const auto mean = load().preprocess.mean;
  for (const char* without : {R"({"processor_class": "CLIPProcessor"})", R"({"image_processor": null})"}) {
    write("processor_config.json", without);
    EXPECT_EQ(load().preprocess.mean, mean) << without;
  }
}

/// transformers loads no image processor from such a folder, and OpenAI's constants may be wrong.
TEST_F(HuggingFaceFolder, NeedsAnImageProcessor) {
  fs::remove(folder_ / "preprocessor_config.json");
  EXPECT_THAT([this] { load(); }, ThrowsMessage<Error>(HasSubstr("preprocessor_config.json")));
}

TEST_F(HuggingFaceFolder, CorruptFilesGiveAnErrorOrAModel) {
  for (const char* name : {"config.json", "preprocessor_config.json", "processor_config.json"}) {
    if (name == std::string("processor_config.json"))
      write(name, "{\"image_processor\": " + read_file(folder_ / "preprocessor_config.json") + "}");
    const std::string good = read_file(folder_ / name);
    int loaded = 0;
    for (std::uint64_t i = 0; i < 1500; ++i) {
      write(name, test::mutate(good, i));
      try {
        const ModelFiles model = load();
        EXPECT_GT(count_parameters(model.config).total, 0);
        ++loaded;
      } catch (const Error&) {  // expected
      }
    }
    EXPECT_TRUE(loaded > 50 && loaded < 1500) << name << ": " << loaded;
    write(name, good);
  }
}

TEST_F(HuggingFaceFolder, RefusesAStandardDeviationOfZero) {
  write("preprocessor_config.json", R"({"image_std": [0.2, 0, 0.2]})");
  EXPECT_THAT([this] { load(); }, ThrowsMessage<Error>(HasSubstr("image_std")));
}

TEST_F(HuggingFaceFolder, IsWrittenWholeOrNotAtAll) {
  ModelFiles model = load();
  const fs::path out = temporary_.path() / "out";
  const auto refuses = [&](const char* why, std::optional<DType> type = std::nullopt) {
    EXPECT_THAT([&] { write_model_folder(out, model, nullptr, type); }, ThrowsMessage<Error>(HasSubstr(why)));
    EXPECT_FALSE(fs::exists(out)) << why;
  };
  model.preprocess.resize_mode = ResizeMode::longest;
  refuses("padding");
  model = load();
  model.weights["visual.transformer.resblocks.0.ls_1.gamma"] = make_tensor({1}, {2.0f});
  refuses("ls_1.gamma");
  model = load();
  model.weights["visual.transformer.resblocks.0.attn.in_proj_bias"] = make_tensor({4}, {1, 2, 3, 4});
  refuses("in_proj_bias");
  model = load();
  model.weights["text_projection"] = make_tensor({32, 16}, std::vector<float>(32 * 16, 70'000));
  refuses("too large for fp16", DType::float16);

  model = load();
  fs::create_directory(out);
  fs::permissions(out, fs::perms::owner_all);
  const ClipTokenizer tokenizer = load_tokenizer(model);
  {
    const test::FileSizeLimit as_on_a_full_disk(4000);
    EXPECT_THROW(write_model_folder(out, model, &tokenizer, std::nullopt), Error);
  }
  EXPECT_TRUE(fs::is_empty(out));
  EXPECT_EQ(fs::status(out).permissions(), fs::perms::owner_all);
  fs::remove(out);
  std::ofstream(out) << "a file";
  EXPECT_THROW(write_model_folder(out, load(), nullptr, std::nullopt), Error);
  EXPECT_EQ(std::distance(fs::directory_iterator(temporary_.path()), {}), 2) << "the model and the file";
}

/// open_clip 3.3's get_tokenizer("local-dir:…") takes the folder's tokenizer if hf_tokenizer_name is not empty, else
/// OpenAI's.
TEST_F(HuggingFaceFolder, TellsOpenClipToUseItsOwnVocabulary) {
  const ClipTokenizer tokenizer = load_tokenizer(load());
  EXPECT_NE(tokenizer_named_for_open_clip(tokenizer, tokenizer.size()), "");
  EXPECT_NE(tokenizer_named_for_open_clip(tokenizer, openai_vocab_size), "") << "of OpenAI's size, but other tokens";
}

TEST_F(HuggingFaceFolder, LetsOpenClipUseItsCopyOfOpenAIsVocabulary) {
  GONDOLA_NEEDS_TEST_DATA("clip-tokenizer-hf");
  const ClipTokenizer tokenizer = ClipTokenizer::load(test::test_data() / "clip-tokenizer-hf");
  EXPECT_EQ(tokenizer_named_for_open_clip(tokenizer, openai_vocab_size), "");
}

/// open_clip's configuration does not say which token that is.
TEST_F(HuggingFaceFolder, NamesTheStartTokenOfItsVocabulary) {
  ModelFiles model = load();
  const ClipTokenizer tokenizer = load_tokenizer(model);
  model.config.text.start_id = tokenizer.start_id() - 1;
  write_model_folder(temporary_.path() / "out", model, &tokenizer, std::nullopt);
  const Json config = parse_json(read_file(temporary_.path() / "out" / "config.json"), "config");
  EXPECT_EQ(config.at("text_config").at("bos_token_id"), tokenizer.start_id());
}

TEST_F(HuggingFaceFolder, NamesTheFileWithAWeightThatDoesNotBelong) {
  TensorMap weights = read_safetensors(folder_ / "model.safetensors");
  weights["text_model.extra"] = make_tensor({1}, {1});
  write_safetensors(folder_ / "model.safetensors", weights, {});
  EXPECT_THAT([&] { load(); },
              ThrowsMessage<Error>(AllOf(HasSubstr("model.safetensors: "), HasSubstr("text_model.extra"))));
}

/// The library's exception for such a path would not be an Error.
TEST_F(HuggingFaceFolder, NamesAFileThatTheSystemRefuses) {
  fs::remove(folder_ / "config.json");
  fs::create_symlink("config.json", folder_ / "config.json");  // leads to itself
  EXPECT_THAT([&] { load(); }, ThrowsMessage<Error>(HasSubstr("config.json: ")));
}

/// Another vocabulary would silently give other tokens.
TEST_F(HuggingFaceFolder, RefusesAVocabularyThatDoesNotFit) {
  const auto refuses = [](const ModelFiles& model, const char* message) {
    EXPECT_THAT([&] { load_tokenizer(model); }, ThrowsMessage<Error>(HasSubstr(message)));
  };
  ModelFiles model = load();
  const int tokens = load_tokenizer(model).size();
  model.config.text.vocab_size = tokens - 1;
  refuses(model, "tokens, the model");
  model.config.text.vocab_size = tokens + 1;
  EXPECT_EQ(load_tokenizer(model).size(), tokens) << "room for more than its own vocabulary has";
  model = load_model_files(folder_.string(), std::nullopt, folder_ / "vocab.json");  // named, as by --vocab
  EXPECT_EQ(load_tokenizer(model).size(), tokens);
  model.config.text.vocab_size = tokens + 1;
  refuses(model, "tokens, the model");
  model = load();
  model.config.text.pooling = TextPooling::end_token;
  model.config.text.end_id = tokens - 1;
  EXPECT_NO_THROW(load_tokenizer(model));
  --model.config.text.end_id;
  refuses(model, "its end token is");
}

TEST_F(HuggingFaceFolder, KeepsTheLogitScaleInFp32WhateverTheWeightsType) {
  ModelFiles model = load();
  model.weights["visual.proj"] =
      make_tensor(model.weights.at("visual.proj").shape,
                  std::vector<float>(static_cast<std::size_t>(model.weights.at("visual.proj").elements()), 65519.f));
  write_model_folder(temporary_.path() / "out", model, nullptr, DType::float16);
  const ModelFiles half = load_model_files((temporary_.path() / "out").string());
  EXPECT_EQ(half.weights.at("logit_scale").type, DType::float32);
  EXPECT_EQ(half.weights.at("visual.proj").type, DType::float16);
  EXPECT_EQ(to_floats(half.weights.at("visual.proj")).front(), 65504) << "the largest that there is";
  for (const float beyond : {65520.f, -65520.f})
    EXPECT_THROW(convert(make_tensor({1}, {beyond}), DType::float16), Error) << beyond;
}

/// The vocabulary was extended after training, so its largest id is not an end token.
TEST_F(HuggingFaceFolder, RefusesToNameAnEndTokenTheVocabularyLacks) {
  ModelFiles model = load();
  const ClipTokenizer tokenizer = load_tokenizer(model);
  model.config.text.end_id = model.config.text.vocab_size++;
  model.config.text.pooling = TextPooling::largest_id;
  EXPECT_THAT([&] { write_model_folder(temporary_.path() / "out", model, &tokenizer, std::nullopt); },
              ThrowsMessage<Error>(HasSubstr("end with the token")));
}

/// transformers' save_pretrained of a large model.
TEST_F(HuggingFaceFolder, MayHaveItsWeightsInShards) {
  const TensorMap whole = load().weights;
  std::map<std::string, TensorMap> shards;
  Json map;
  for (const auto& [name, tensor] : read_safetensors(folder_ / "model.safetensors")) {
    const std::string shard = name.starts_with("vision_model.") ? "a.safetensors" : "b.safetensors";
    shards[shard][name] = tensor;
    map[name] = shard;
  }
  for (const auto& [name, tensors] : shards) write_safetensors(folder_ / name, tensors, {});
  fs::remove(folder_ / "model.safetensors");
  write("model.safetensors.index.json", Json{{"weight_map", map}}.dump());
  const TensorMap sharded = load().weights;
  ASSERT_EQ(sharded.size(), whole.size());
  for (const auto& [name, tensor] : whole) EXPECT_EQ(to_floats(sharded.at(name)), to_floats(tensor)) << name;

  map["extra"] = "a.safetensors";
  write("model.safetensors.index.json", Json{{"weight_map", map}}.dump());
  EXPECT_THAT([&] { load(); }, ThrowsMessage<Error>(HasSubstr("a.safetensors has no extra")));
  map["extra"] = "../other.safetensors";
  write("model.safetensors.index.json", Json{{"weight_map", map}}.dump());
  EXPECT_THAT([&] { load(); }, ThrowsMessage<Error>(HasSubstr("expected the name of a file")));
}

TEST_F(HuggingFaceFolder, CanBeLoadedByItsWeightsFile) {
  const ModelFiles by_file = load_model_files((folder_ / "model.safetensors").string());
  EXPECT_EQ(by_file.family, Family::hugging_face);
  EXPECT_EQ(by_file.vocabulary, folder_);
  fs::copy_file(test::golden("models/vit_state_dict.pt"), folder_ / "pytorch_model.bin");
  EXPECT_EQ(load_model_files((folder_ / "model.safetensors").string()).source, folder_ / "model.safetensors");
  EXPECT_EQ(load().source, folder_ / "model.safetensors") << "which transformers prefers";
  EXPECT_THROW(load_model_files((folder_ / "pytorch_model.bin").string()), Error)
      << "whose names are not transformers'";
}

TEST_F(HuggingFaceFolder, ExplainsGitLfsPointers) {
  write("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
  EXPECT_THAT([&] { load(); }, ThrowsMessage<Error>(HasSubstr("git lfs pull")));
}

/// A tar archive may hold one, and reading it would block.
TEST_F(HuggingFaceFolder, RefusesNamedPipes) {
  for (const char* name : {"model.safetensors", "preprocessor_config.json", "config.json"}) {
    fs::remove(folder_ / name);
    ASSERT_EQ(::mkfifo((folder_ / name).c_str(), 0600), 0);
    EXPECT_THAT([&] { load(); }, ThrowsMessage<Error>(HasSubstr(std::string(name) + ": is not a regular file")));
    EXPECT_THROW(load_model_files((folder_ / "model.safetensors").string()), Error);
  }
}

TEST_F(HuggingFaceFolder, RefusesAHugeConfiguration) {
  write("config.json", read_file(folder_ / "config.json") + std::string(16 << 20, ' '));
  EXPECT_THAT([&] { load(); }, ThrowsMessage<Error>(HasSubstr("config.json: is larger than the limit")));
}

TEST_F(HuggingFaceFolder, SaysWhereItLookedForAMissingVocabulary) {
  ModelFiles model = load();
  model.vocabulary = std::nullopt;
  EXPECT_THAT([&] { load_tokenizer(model); },
              ThrowsMessage<Error>(AllOf(HasSubstr(folder_.string()), Not(HasSubstr("caches")))));
  model.config.text.vocab_size = openai_vocab_size;
  EXPECT_THAT([&] { load_tokenizer(model); }, ThrowsMessage<Error>(HasSubstr("caches")));
}

/// As huggingface_hub leaves a repository with both layouts from which transformers fetched its own weights.
TEST_F(HuggingFaceFolder, IsRecognisedDespiteAnOpenClipConfiguration) {
  write("open_clip_config.json", "{}");
  EXPECT_EQ(load().family, Family::hugging_face);
}

TEST_F(HuggingFaceFolder, KeepsExistingFilesWhenWritingFails) {
  const fs::path out = temporary_.path() / "out";
  test::write(out / "mine", "mine");
  const ModelFiles model = load();
  {
    const test::FileSizeLimit as_on_a_full_disk(4000);
    EXPECT_THROW(write_model_folder(out, model, nullptr, std::nullopt), Error);
  }
  ASSERT_TRUE(fs::exists(out / "mine"));
  EXPECT_EQ(read_file(out / "mine"), "mine");
}

TEST_F(HuggingFaceFolder, AcceptsAOneDimensionalLogitScale) {
  TensorMap weights = read_safetensors(folder_ / "model.safetensors");
  weights.at("logit_scale").shape = {1};
  write_safetensors(folder_ / "model.safetensors", weights, {});
  EXPECT_TRUE(load().weights.at("logit_scale").shape.empty());
}

TEST_F(HuggingFaceFolder, NamesTheTypeOfItsWeights) {
  write_model_folder(temporary_.path() / "out", load(), nullptr, DType::bfloat16);
  EXPECT_EQ(Json::parse(read_file(temporary_.path() / "out" / "config.json")).at("dtype"), "bfloat16");
}

}  // namespace
}  // namespace gondola
