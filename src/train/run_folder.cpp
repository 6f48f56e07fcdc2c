#include "train/run_folder.h"

#include <fstream>
#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "checkpoint/safetensors.h"

namespace gondola {
namespace {

namespace fs = std::filesystem;

/// Keys that may change when a run is resumed: when it ends, what it saves and validates on the way, and what it runs
/// on. Everything that decides how the next step learns from its batch must stay.
const std::set<std::string, std::less<>> free_keys = {"train.steps",
                                                      "train.epochs",
                                                      "train.cooldown_steps",
                                                      "train.save_every_steps",
                                                      "data.validation",
                                                      "data.max_read_failures",
                                                      "train.validate_every_steps",
                                                      "data.validation_templates",
                                                      "model.export_dtype",
                                                      "train.threads",
                                                      "train.micro_batch_size",
                                                      "train.shard_optimizer",
                                                      "train.activation_checkpointing",
                                                      "train.device",
                                                      "train.peak_tflops"};

/// The form of a value by which runs are compared: data sets may move, as long as they keep their names.
std::string comparable(const std::string& key, const std::string& value) {
  const Json sources = Json::parse(value, nullptr, /*allow_exceptions=*/false);
  if (key != "data.train" || !sources.is_array()) return value;
  std::vector<std::string> names;
  for (const std::string source : sources) {
    const bool is_url = source.find("://") != std::string::npos;  // its query may hold an expired key
    const fs::path path = source.substr(0, is_url ? source.find('?') : source.npos);
    names.push_back((path.has_filename() ? path : path.parent_path()).filename().string());
  }
  return Json(names).dump();
}

void check_same_recipe(const fs::path& file, const Recipe& recipe) {
  std::map<std::string, std::string> earlier;
  try {
    parse_json(read_file(file), file.string()).get_to(earlier);
  } catch (const Json::exception&) {
    fail("{}: is damaged, or was not written by a run", file.string());
  }
  auto values = recipe.values;
  for (auto* map : {&earlier, &values})
    std::erase_if(*map, [](const auto& item) { return free_keys.contains(item.first); });
  values.insert(earlier.begin(), earlier.end());  // now has every key of both
  for (const auto& [key, unused] : values) {
    const auto now = recipe.values.find(key);
    const auto before = earlier.find(key);
    if (before == earlier.end() && !recipe.given.contains(key)) continue;  // a key that Gondola did not have then
    const std::string now_text = now == recipe.values.end() ? "(none)" : comparable(key, now->second);
    const std::string before_text = before == earlier.end() ? "(none)" : comparable(key, before->second);
    if (now_text != before_text)
      fail("{}: this run was started with {} = {}, and cannot be resumed with {}", file.string(), key, before_text,
           now_text);
  }
}

/// Complete checkpoints by their step.
std::map<std::int64_t, fs::path> list_checkpoints(const fs::path& folder) {
  std::map<std::int64_t, fs::path> found;
  if (!fs::exists(folder)) return found;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    long long step = 0;
    if (entry.path().extension() == ".safetensors" && std::sscanf(name.c_str(), "step-%lld", &step) == 1)
      found[step] = entry.path();
  }
  return found;
}

}  // namespace

RunFolder::RunFolder(fs::path path, const Recipe& recipe, bool resume, bool writable)
    : path_(std::move(path)), writable_(writable) {
  if (!writable_) return;
  if (fs::exists(path_) && !fs::is_directory(path_)) fail("{}: is a file, expected a folder", path_.string());
  const fs::path recipe_file = path_ / "recipe.json";
  const std::string text = Json(recipe.values).dump(1) + "\n";
  if (fs::exists(path_) && !fs::is_empty(path_)) {
    if (fs::exists(recipe_file)) {
      if (!has_checkpoint() && fs::exists(model()))
        fail("{}: holds a finished run without its checkpoints, which cannot be resumed; use another folder",
             path_.string());  // starting again would overwrite its model
      // A run that failed before its first checkpoint may simply be started again.
      if (!resume && has_checkpoint()) fail("{}: already has a run; --resume continues it", path_.string());
    } else {
      if (!resume) fail("{}: is not empty, and not the folder of a run", path_.string());
      if (has_checkpoint()) fail("{}: has checkpoints without the recipe.json of their run", path_.string());
      for (const fs::path& written : {metrics(), model(), vocabulary(), events()})  // others' files may stay
        if (fs::exists(written)) fail("{}: exists without a recipe.json: not the folder of a run", written.string());
    }
  }
  make_folder(checkpoints());
  lock_ = std::make_unique<FileLock>(path_ / ".lock");
  if (!lock_->try_lock_where_possible()) fail("{}: another process is training there", path_.string());
  if (fs::exists(recipe_file)) {
    if (has_checkpoint()) {
      check_same_recipe(recipe_file, recipe);
    } else if (!resume || read_file(recipe_file) != text) {
      fs::remove_all(vocabulary());  // perhaps of another recipe or other captions; nothing else was saved
    }
  }
  write_file_atomically(recipe_file, text);
}

bool RunFolder::has_checkpoint() const {
  return !list_checkpoints(checkpoints()).empty();
}

std::optional<TrainingState> RunFolder::restore() {
  std::optional<TrainingState> state;
  if (const auto complete = list_checkpoints(checkpoints()); !complete.empty()) {
    const auto& [steps, file] = *complete.rbegin();
    state = TrainingState{steps, read_safetensors(file)};
  }
  if (!writable_) return state;
  for (const fs::path& folder : {path_, checkpoints(), vocabulary(), model()}) remove_temporaries(folder);
  std::string kept;
  if (fs::exists(metrics())) {
    for (const std::string& line : read_lines(metrics())) {
      const Json parsed = Json::parse(line, nullptr, /*allow_exceptions=*/false);  // the last one may be cut off
      if (!parsed.is_object() || parsed.value("step", std::int64_t{0}) > (state ? state->steps : 0)) break;
      kept += line + "\n";
    }
  }
  write_file_atomically(metrics(), kept);
  return state;
}

void RunFolder::save(const TrainingState& state) {
  if (!writable_) return;
  write_safetensors(checkpoints() / fmt::format("step-{:08}.safetensors", state.steps), state.tensors);
  auto complete = list_checkpoints(checkpoints());
  while (complete.size() > 2) {
    fs::remove(complete.begin()->second);
    complete.erase(complete.begin());
  }
}

void RunFolder::log(const nlohmann::ordered_json& line) {
  if (!writable_) return;
  std::ofstream out(metrics(), std::ios::app);
  out << to_json_line(line) << '\n';
  if (!out.flush()) fail("{}: cannot be written", metrics().string());
}

std::set<std::string> RunFolder::validated(std::int64_t step) const {
  std::set<std::string> sets;
  for (const std::string& line : read_lines(metrics()))
    if (const Json parsed = Json::parse(line); parsed.contains("validation") && parsed.at("step") == step)
      sets.insert(parsed.at("validation"));
  return sets;
}

void RunFolder::write_report(const Named<std::string>& summary, const Recipe& recipe) const {
  if (!writable_) return;
  Curves curves;
  for_each_line(metrics(), [&](std::string_view line) { curves.add(nlohmann::ordered_json::parse(line)); });
  const std::string title = fs::absolute(path_ / ".").parent_path().filename().string();
  write_file_atomically(path_ / "report.html", make_report(title, summary, recipe.values, curves));
}

}  // namespace gondola
