#include "train/recipe.h"

#include <toml++/toml.h>

#include <cmath>
#include <initializer_list>
#include <limits>
#include <ranges>
#include <set>

#include "base/environment.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/spelling.h"
#include "text/train_bpe.h"

namespace gondola {
namespace {

template <class T>
std::string text_of(const T& value) {
  if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::string>)
    return fmt::format("{}", value);
  else
    return Json(value).dump();
}

/// One table of the file. `finish` throws Error for keys that were never asked for. Every key's value or default goes
/// into the recipe's values.
class Section {
 public:
  Section(const toml::table& table, std::string origin, std::string name, Recipe& recipe)
      : table_(table), origin_(std::move(origin)), name_(std::move(name)), recipe_(recipe) {}

  template <class T>
  void read(const char* key, T& value) {
    read_value(key, value);
    recipe_.values[path(key)] = text_of(value);
  }

  /// Reads a value that must be one of the given words.
  template <class T>
  void read_choice(const char* key, T& value, const std::map<std::string, T>& choices) {
    std::string word;
    read_value(key, word);
    if (!word.empty()) value = find_choice(key, word, choices);
    for (const auto& [name, choice] : choices)
      if (choice == value) recipe_.values[path(key)] = name;
  }

  /// Reads a list of some of the given words and sets their flags.
  void read_set(const char* key, const std::map<std::string, bool*>& flags) {
    std::vector<std::string> words;
    read(key, words);
    for (const std::string& word : words) *find_choice(key, word, flags) = true;
  }

  void read_keys(AugmentConfig& augment) {
    read("min_crop_area", augment.min_crop_area);
    read("max_aspect_ratio", augment.max_aspect_ratio);
    read("flip_probability", augment.flip_probability);
    read("max_detail", augment.max_detail);
    read("erase_probability", augment.erase_probability);
  }

  /// Reads a list of names, or of tables { source = "…", weight = … } that may also set keys of [augment], in place of
  /// the values in `common`.
  void read_sources(const char* key, const AugmentConfig& common, std::vector<Source>& sources,
                    std::vector<AugmentConfig>& augment) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    const toml::array* array = node->as_array();
    if (array == nullptr)
      fail("{0}: {1} has the wrong type, expected a list, as in --set '{1}=[\"pairs.csv\"]'", origin_, path(key));
    std::vector<std::string> names;
    for (std::size_t i = 0; i < array->size(); ++i) {
      const toml::node& element = *array->get(i);
      Source source;
      augment.push_back(common);
      if (const toml::table* table = element.as_table()) {
        Recipe own;
        Section section(*table, origin_, fmt::format("{}[{}]", path(key), i), own);
        section.read_value("source", source.name);
        section.read("weight", source.weight);
        section.read_keys(augment.back());
        section.finish();
        keep_unusual(own);
      } else {
        source.name = element.value_or(std::string());
      }
      if (source.name.empty()) fail("{}: {}[{}] names no source", origin_, path(key), i);
      names.push_back(source.name);
      sources.push_back(std::move(source));
    }
    recipe_.values[path(key)] = text_of(names);
  }

  Section section(const char* key) {
    static const toml::table empty;
    const toml::node* node = find(key);
    if (node != nullptr && !node->is_table()) fail("{}: {} is not a section", origin_, path(key));
    return {node == nullptr ? empty : *node->as_table(), origin_, path(key), recipe_};
  }

  /// Throws Error if one of these keys is set.
  void refuse(std::initializer_list<const char*> keys, const std::string& why) const {
    for (const char* key : keys)
      if (table_.contains(key)) fail("{}: {} {}", origin_, path(key), why);
  }

  void finish() const {
    for (const auto& [key, unused] : table_)
      if (!asked_.contains(std::string(key.str())))
        fail("{}: unknown key {}{}", origin_, path(key.str()), spelling_suggestion(key.str(), asked_, path("")));
  }

 private:
  /// Adds those of a source's values to the recipe's that differ from [augment] or the default weight.
  void keep_unusual(const Recipe& source) {
    for (const auto& [key, value] : source.values) {
      const std::string name = key.substr(key.rfind('.') + 1);
      if (value != (name == "weight" ? text_of(Source().weight) : recipe_.values.at("augment." + name)))
        recipe_.values[key] = value, recipe_.given.insert(key);
    }
  }

  std::string path(std::string_view key) const {
    return name_.empty() ? std::string(key) : fmt::format("{}.{}", name_, key);
  }

  const toml::node* find(const char* key) {
    asked_.insert(key);
    const toml::node* node = table_.get(key);
    if (node != nullptr) recipe_.given.insert(path(key));
    return node;
  }

  template <class T>
  void read_value(const char* key, T& value) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    if constexpr (std::is_same_v<T, std::vector<std::string>> || std::is_same_v<T, std::array<float, 3>> ||
                  std::is_same_v<T, std::array<int, 4>>) {
      read_array(key, *node, value);
    } else {
      value = convert<T>(*node, path(key));
    }
  }

  template <class T>
  T convert(const toml::node& node, const std::string& name) const {
    constexpr bool is_bool = std::is_same_v<T, bool>, is_whole = std::is_integral_v<T> && !is_bool,
                   is_float = std::is_floating_point_v<T>;
    constexpr const char* expected = is_bool    ? "true or false"
                                     : is_whole ? "a whole number"
                                     : is_float ? "a number"
                                                : "a string";
    const auto found =
        node.value<std::conditional_t<is_whole, std::int64_t, std::conditional_t<is_float, double, T>>>();
    // To toml++, true is 1 and 1 is true.
    if (!found || (is_bool && !node.is_boolean()) || (is_whole && !node.is_integer()))
      fail("{}: {} has the wrong type, expected {}", origin_, name, expected);
    const T value = static_cast<T>(*found);
    if constexpr (is_float)
      if (!std::isfinite(value)) fail("{}: {} is {}, expected a finite number", origin_, name, value);
    if constexpr (is_whole)  // a negative seed wraps
      if (static_cast<std::int64_t>(value) != *found)
        fail("{}: {} is {}, expected a number from {} to {}", origin_, name, *found, std::numeric_limits<T>::min(),
             std::numeric_limits<T>::max());
    return value;
  }

  template <class T>
  T find_choice(const char* key, const std::string& word, const std::map<std::string, T>& choices) const {
    const auto found = choices.find(word);
    if (found != choices.end()) return found->second;
    fail("{}: {} is \"{}\", expected one of {}", origin_, path(key), word, fmt::join(std::views::keys(choices), ", "));
  }

  template <class T>
  void read_array(const char* key, const toml::node& node, T& values) {
    const toml::array* array = node.as_array();
    if (array == nullptr) fail("{}: {} has the wrong type, expected a list", origin_, path(key));
    if constexpr (std::is_same_v<T, std::vector<std::string>>) {
      values.resize(array->size());
    } else if (array->size() != values.size()) {
      fail("{}: {} has {} values, expected {}", origin_, path(key), array->size(), values.size());
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = convert<typename T::value_type>(*array->get(i), fmt::format("{}[{}]", path(key), i));
    }
  }

  const toml::table& table_;
  std::string origin_, name_;
  Recipe& recipe_;
  std::set<std::string> asked_;
};

const std::map<std::string, Activation> activations = {
    {"gelu", Activation::gelu}, {"gelu_tanh", Activation::gelu_tanh}, {"quick_gelu", Activation::quick_gelu}};

void read_image_tower(Section section, ImageTowerConfig& image) {
  section.read_choice("architecture", image.architecture,
                      {{"vit", ImageArchitecture::vit}, {"modified_resnet", ImageArchitecture::modified_resnet}});
  const bool resnet = image.architecture == ImageArchitecture::modified_resnet;
  if (resnet) image.width = 64;
  section.read("image_size", image.image_size);
  section.read("width", image.width);
  image.heads = resnet ? image.width / 2 : image.width / 64;
  section.read("heads", image.heads);
  if (resnet) {
    section.refuse({"patch_size", "layers", "mlp_width", "activation"}, "does not belong to a modified_resnet");
    section.read("stage_blocks", image.stage_blocks);
  } else {
    section.refuse({"stage_blocks"}, "does not belong to a vit");
    section.read("patch_size", image.patch_size);
    section.read("layers", image.layers);
    image.mlp_width = 4 * image.width;
    section.read("mlp_width", image.mlp_width);
    section.read_choice("activation", image.activation, activations);
  }
  section.finish();
}

void read_text_tower(Section section, TextTowerConfig& text) {
  section.read("context_length", text.context_length);
  section.read("width", text.width);
  text.heads = text.width / 64;
  text.mlp_width = 4 * text.width;
  section.read("heads", text.heads);
  section.read("layers", text.layers);
  section.read("mlp_width", text.mlp_width);
  section.read_choice("activation", text.activation, activations);
  section.finish();
}

void read_model(Section section, Recipe& recipe) {
  std::string name;
  section.read("preset", name);
  if (!name.empty()) {
    section.refuse({"name", "embed_dim", "image", "text"},
                   "cannot be set beside model.preset (--set model.preset=\"\" unsets it)");
    recipe.model = preset(name);
  } else {
    section.read("name", recipe.model.name);
    section.read("embed_dim", recipe.model.embed_dim);
    read_image_tower(section.section("image"), recipe.model.image);
    read_text_tower(section.section("text"), recipe.model.text);
  }
  std::string vocabulary;
  section.read("vocabulary", vocabulary);
  if (!vocabulary.empty()) recipe.vocabulary = vocabulary;
  section.read("vocab_size", recipe.vocab_size);
  section.read("pretrained", recipe.pretrained);
  section.read("pretrained_image", recipe.pretrained_image);
  section.read("pretrained_text", recipe.pretrained_text);
  section.read("batch_norm_embeddings", recipe.batch_norm_embeddings);
  section.read("low_pass_stem", recipe.low_pass_stem);
  section.read_choice("export_dtype", recipe.export_dtype,
                      {{"fp32", DType::float32}, {"fp16", DType::float16}, {"bf16", DType::bfloat16}});
  section.finish();
}

void read_train(Section section, Recipe& recipe) {
  if (recipe.model.image.architecture == ImageArchitecture::modified_resnet) {
    recipe.beta2 = 0.999;
    recipe.epsilon = 1e-8;
  }
  section.read("batch_size", recipe.batch_size);
  section.read("micro_batch_size", recipe.micro_batch_size);
  section.read("steps", recipe.steps);
  section.read("epochs", recipe.epochs);
  section.read("learning_rate", recipe.learning_rate);
  section.read_choice("optimizer", recipe.muon, {{"adamw", false}, {"muon", true}});
  section.read("muon_lr_factor", recipe.muon_lr_factor);
  section.read("weight_decay", recipe.weight_decay);
  section.read("beta1", recipe.beta1);
  section.read("beta2", recipe.beta2);
  section.read("epsilon", recipe.epsilon);
  section.read("image_lr_factor", recipe.image_lr_factor);
  section.read("text_lr_factor", recipe.text_lr_factor);
  section.read("layer_decay", recipe.layer_decay);
  section.read_set("lock", {{"image", &recipe.lock_image}, {"text", &recipe.lock_text}});
  section.read("unlocked_blocks", recipe.unlocked_blocks);
  section.read_choice("schedule", recipe.schedule, {{"cosine", Schedule::cosine}, {"constant", Schedule::constant}});
  section.read("warmup_steps", recipe.warmup_steps);
  section.read("cooldown_steps", recipe.cooldown_steps);
  section.read("gradient_clip", recipe.gradient_clip);
  section.read("spike_guard", recipe.spike_guard);
  section.read("ema_decay", recipe.ema_decay);
  section.read("patch_dropout", recipe.patch_dropout);
  section.read("activation_checkpointing", recipe.activation_checkpointing);
  section.read("shard_optimizer", recipe.shard_optimizer);
  section.read("max_scale", recipe.max_scale);
  section.read_choice("precision", recipe.bf16, {{"fp32", false}, {"bf16", true}});
  section.read_choice("loss", recipe.model.sigmoid_loss, {{"softmax", false}, {"sigmoid", true}});
  section.read("soft_targets", recipe.soft_targets);
  section.read("seed", recipe.seed);
  section.read("save_every_steps", recipe.save_every_steps);
  section.read("validate_every_steps", recipe.validate_every_steps);
  section.read("threads", recipe.threads);
  section.read("device", recipe.device);
  section.read("peak_tflops", recipe.peak_tflops);
  section.finish();
}

void validate(const Recipe& recipe, const std::string& origin) {
  const auto require = [&](bool condition, const char* message) {
    if (!condition) fail("{}: {}", origin, message);
  };
  require(!recipe.train.empty(), "data.train names no source; set it, as in --set 'data.train=[\"pairs.csv\"]'");
  const auto is_share = [](double value) { return value >= 0 && value <= 1; };
  for (const AugmentConfig& augment : recipe.augment) {
    require(augment.min_crop_area > 0 && augment.min_crop_area <= 1,
            "augment.min_crop_area must be above 0 and at most 1");
    require(augment.max_aspect_ratio >= 1, "augment.max_aspect_ratio must be at least 1");
    require(augment.max_detail >= 0 && augment.max_detail < 1e3,
            "augment.max_detail must be at least 0 and below 1000");
    require(is_share(augment.flip_probability) && is_share(augment.erase_probability),
            "augment.flip_probability and erase_probability must be within [0, 1]");
  }
  for (const float deviation : recipe.preprocess.std) require(deviation > 0, "preprocess.std must be above 0");
  require(recipe.captions_per_image >= 1, "data.captions_per_image must be at least 1");
  require(recipe.max_read_failures >= 0, "data.max_read_failures cannot be negative");
  require(recipe.batch_size >= 2, "train.batch_size must be at least 2: a loss of one pair is zero");
  require(recipe.steps > 0 || recipe.epochs > 0, "train needs either steps or epochs above 0");
  require(recipe.steps == 0 || recipe.epochs == 0,
          "train has both steps and epochs; set the one you do not want to 0 (--set train.epochs=0)");
  require(recipe.micro_batch_size >= 0, "train.micro_batch_size cannot be negative");
  require(recipe.patch_dropout >= 0 && recipe.patch_dropout < 1, "train.patch_dropout must be within [0, 1)");
  require(recipe.patch_dropout == 0 || recipe.model.image.architecture == ImageArchitecture::vit,
          "train.patch_dropout: a ModifiedResNet has no patches to leave out");
  require(recipe.learning_rate > 0, "train.learning_rate must be above 0");
  require(recipe.beta1 >= 0 && recipe.beta1 < 1 && recipe.beta2 >= 0 && recipe.beta2 < 1,
          "train.beta1 and beta2 must be within [0, 1)");
  require(recipe.epsilon > 0, "train.epsilon must be above 0");
  require(recipe.weight_decay >= 0 && recipe.gradient_clip >= 0,
          "train.weight_decay and gradient_clip cannot be negative");
  require(recipe.teacher_weight > 0 && recipe.teacher_weight <= 1, "teacher.weight must be above 0 and at most 1");
  require(recipe.muon_lr_factor > 0, "train.muon_lr_factor must be above 0");
  require(recipe.image_lr_factor > 0 && recipe.text_lr_factor > 0,
          "train.image_lr_factor and text_lr_factor must be above 0");
  require(recipe.layer_decay > 0 && recipe.layer_decay <= 1, "train.layer_decay must be above 0 and at most 1");
  require(recipe.unlocked_blocks >= 0, "train.unlocked_blocks cannot be negative");
  require(recipe.unlocked_blocks == 0 || recipe.lock_image || recipe.lock_text,
          "train.unlocked_blocks needs a tower in train.lock");
  require(recipe.cooldown_steps >= 0, "train.cooldown_steps cannot be negative");
  require(recipe.cooldown_steps == 0 || recipe.schedule == Schedule::constant,
          "train.cooldown_steps needs schedule = \"constant\"");
  require(recipe.spike_guard == 0 || recipe.spike_guard > 1, "train.spike_guard must be above 1, or 0 for none");
  require(recipe.ema_decay >= 0 && recipe.ema_decay < 1, "train.ema_decay must be at least 0 and below 1");
  require(recipe.max_scale > 1, "train.max_scale must be above 1");
  require(recipe.peak_tflops >= 0, "train.peak_tflops cannot be negative");
  require(recipe.save_every_steps > 0 && recipe.validate_every_steps > 0,
          "train.save_every_steps and validate_every_steps must be above 0");
  require(recipe.warmup_steps >= 0, "train.warmup_steps cannot be negative");
  require(recipe.threads >= 0 && recipe.threads <= 1024, "train.threads must be within [0, 1024]");
  require(recipe.vocab_size == 0 || recipe.vocab_size >= min_vocab_size,
          "model.vocab_size must be 0, for none, or at least 514");
  require(!(recipe.vocabulary && recipe.vocab_size > 0),
          "model has both vocabulary and vocab_size; unset the one you do not want (--set model.vocab_size=0)");
  require(!recipe.templates.empty() && !recipe.validation_templates.empty(),
          "data.templates and validation_templates must not be empty");
  require(!recipe.low_pass_stem || recipe.model.image.architecture == ImageArchitecture::modified_resnet,
          "model.low_pass_stem: a VisionTransformer has no stem");
  require(!recipe.batch_norm_embeddings || !(recipe.lock_image || recipe.lock_text),
          "model.batch_norm_embeddings would change the projection of a locked tower");
  require(!recipe.batch_norm_embeddings || recipe.model.text.width >= recipe.model.embed_dim,
          "model.batch_norm_embeddings needs a text width of at least embed_dim, to be folded at the end");
  require(!recipe.batch_norm_embeddings || recipe.model.image.feature_width() >= recipe.model.embed_dim,
          "model.batch_norm_embeddings needs image features at least embed_dim wide, to be folded at the end");
  try {
    recipe.model.validate();  // with OpenAI's vocabulary; the tokenizer's sizes, set later, always fit
  } catch (const Error& error) {
    fail("{}: {}", origin, error.what());
  }
}

/// Sets "section.key=value" in the table.
void override_value(toml::table& table, const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos) fail("--set {}: expected section.key=value", assignment);
  toml::table single;
  try {
    single = toml::parse(assignment);
  } catch (const toml::parse_error& not_toml) {
    const bool list = assignment.find_first_of("[{", equals) == equals + 1;
    if (list)
      fail("--set {}: {} (quote the words in a list, and the whole for the shell: --set 'KEY=[\"WORD\"]')", assignment,
           not_toml.description());
    try {  // a word without quotes is a string
      single = toml::parse(assignment.substr(0, equals + 1) + '"' + assignment.substr(equals + 1) + '"');
    } catch (const toml::parse_error& error) {
      fail("--set {}: {}", assignment, error.description());
    }
  }
  const auto merge = [](const auto& self, toml::table& into, const toml::table& from) -> void {
    for (const auto& [key, node] : from) {
      toml::node* present = into.get(key);
      if (node.is_table() && present != nullptr && present->is_table())
        self(self, *present->as_table(), *node.as_table());
      else
        into.insert_or_assign(key, node);
    }
  };
  merge(merge, table, single);
}

}  // namespace

Family export_family(const ModelConfig& model) {
  const bool fits = model.image.architecture == ImageArchitecture::vit && !model.sigmoid_loss;
  return fits ? Family::hugging_face : Family::open_clip;
}

std::filesystem::path find_recipe(const std::string& name) {
  namespace fs = std::filesystem;
  if (fs::exists(name) && !fs::is_directory(name)) return name;
  std::set<std::string> shipped;
  for (const fs::path& folder : shipped_folders("recipes")) {
    if (const fs::path file = folder / (name + ".toml"); fs::is_regular_file(file)) return file;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".toml") shipped.insert(entry.path().stem().string());
  }
  fail("{}: no such file, nor one of the recipes {}", name, fmt::join(shipped, ", "));
}

Recipe read_recipe(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  toml::table table;
  try {
    table = toml::parse(read_file(path), path.string());
  } catch (const toml::parse_error& error) {
    fail("{}: line {}: {}", path.string(), error.source().begin.line, error.description());
  }
  const std::string origin = path.string() + (overrides.empty() ? "" : " with --set");
  for (const std::string& assignment : overrides) override_value(table, assignment);

  Recipe recipe;
  Section root(table, origin, "", recipe);
  read_model(root.section("model"), recipe);

  Section preprocess = root.section("preprocess");
  preprocess.read("mean", recipe.preprocess.mean);
  preprocess.read("std", recipe.preprocess.std);
  preprocess.read_choice("interpolation", recipe.preprocess.interpolation,
                         {{"bicubic", Interpolation::bicubic}, {"bilinear", Interpolation::bilinear}});
  preprocess.read_choice("resize_mode", recipe.preprocess.resize_mode,
                         {{"shortest", ResizeMode::shortest}, {"squash", ResizeMode::squash}});
  preprocess.finish();
  recipe.preprocess.size = recipe.model.image.image_size;

  AugmentConfig common;
  Section augment = root.section("augment");
  augment.read_keys(common);
  augment.finish();

  Section data = root.section("data");
  data.read_sources("train", common, recipe.train, recipe.augment);
  data.read("validation", recipe.validation);
  data.read("captions_per_image", recipe.captions_per_image);
  data.read("max_read_failures", recipe.max_read_failures);
  data.read("templates", recipe.templates);
  data.read("validation_templates", recipe.validation_templates);
  data.finish();

  Section teacher = root.section("teacher");
  teacher.read("model", recipe.teacher);
  teacher.read("weight", recipe.teacher_weight);
  teacher.finish();

  read_train(root.section("train"), recipe);
  root.finish();
  validate(recipe, origin);
  if (export_family(recipe.model) == Family::hugging_face) {
    recipe.preprocess.library = PreprocessLibrary::transformers;
    recipe.values["preprocess.library"] = "transformers";
  }
  return recipe;
}

}  // namespace gondola
