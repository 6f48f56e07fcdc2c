#include "checkpoint/model_locations.h"

#include <algorithm>
#include <array>
#include <ranges>
#include <utility>

#include "base/environment.h"
#include "base/error.h"
#include "base/file.h"
#include "checkpoint/open_clip_tags.h"
#include "config/model_config.h"

namespace gondola {
namespace {

using std::filesystem::path;

/// The names in clip.available_models() and the files that clip.load leaves in its cache.
constexpr std::array<std::pair<const char*, const char*>, 9> openai_files = {{{"RN50", "RN50.pt"},
                                                                              {"RN101", "RN101.pt"},
                                                                              {"RN50x4", "RN50x4.pt"},
                                                                              {"RN50x16", "RN50x16.pt"},
                                                                              {"RN50x64", "RN50x64.pt"},
                                                                              {"ViT-B/32", "ViT-B-32.pt"},
                                                                              {"ViT-B/16", "ViT-B-16.pt"},
                                                                              {"ViT-L/14", "ViT-L-14.pt"},
                                                                              {"ViT-L/14@336px", "ViT-L-14-336px.pt"}}};

/// Repositories that hold OpenAI's vocabulary.
constexpr std::array<const char*, 4> vocabulary_repositories = {
    "openai/clip-vit-base-patch32", "openai/clip-vit-base-patch16", "openai/clip-vit-large-patch14",
    "openai/clip-vit-large-patch14-336"};

path openai_cache() {
  return path(environment("HOME").value_or("/")) / ".cache" / "clip";
}

/// The folder that an environment variable names. Expands ~, which no shell has done for an .env file or Docker.
std::optional<path> folder_in(const char* variable) {
  const auto value = environment(variable);
  const auto home = environment("HOME");
  if (value && home && (*value == "~" || value->starts_with("~/"))) return *home + value->substr(1);
  return value;
}

/// The cache folder by huggingface_hub's rules.
path hugging_face_cache() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"})
    if (const auto folder = folder_in(name)) return *folder;
  return folder_in("HF_HOME").value_or(cache_home() / "huggingface") / "hub";
}

path repository_folder(std::string repository) {
  for (std::size_t at; (at = repository.find('/')) != std::string::npos;) repository.replace(at, 1, "--");
  return hugging_face_cache() / ("models--" + repository);
}

std::optional<path> cached_snapshot(const std::string& repository) {
  const path folder = repository_folder(repository), reference = folder / "refs" / "main";
  if (!path_exists(reference)) return std::nullopt;
  std::string commit = read_regular_file(reference, 256);
  while (!commit.empty() && std::isspace(static_cast<unsigned char>(commit.back())) != 0) commit.pop_back();
  const path snapshot = folder / "snapshots" / path(commit).filename();
  if (commit.empty() || !path_exists(snapshot)) return std::nullopt;
  return snapshot;
}

// open_clip's ways of naming a folder and a repository.
constexpr const char *folder_prefix = "local-dir:", *hub_prefix = "hf-hub:";

/// The name without one of them, if it has it.
std::string without_prefix(const std::string& name, std::string_view prefix) {
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

/// Whether a name can only mean a file or folder, not a repository; one that does not exist is then a mistake.
bool is_path(const std::string& name) {
  const path given(name);
  for (const char* beginning : {"/", "./", "../", "~", folder_prefix})
    if (name.starts_with(beginning)) return true;
  for (const char* ending : {".pt", ".pth", ".bin", ".safetensors"})
    if (given.extension() == ending) return true;
  return !given.has_filename() || std::ranges::count(name, '/') > 1;
}

std::optional<path> vocabulary_in(const path& folder) {
  if (path_exists(folder / "vocab.json") && path_exists(folder / "merges.txt")) return folder;
  if (path_exists(folder / "tokenizer.json")) return folder;
  const path openai = folder / "bpe_simple_vocab_16e6.txt.gz";
  return path_exists(openai) ? std::optional(openai) : std::nullopt;
}

}  // namespace

path find_model(const std::string& name) {
  const path given = without_prefix(name, folder_prefix);
  std::error_code error;
  if (exists(given, error)) return given;
  if (error) fail("{}: {}", name, error.message());
  for (const auto& [openai_name, file] : openai_files)
    if (name == openai_name) {
      if (path_exists(openai_cache() / file)) return openai_cache() / file;
      fail("{}: not found at {}, where Python's clip.load puts it; OpenAI's ViTs are also on the Hugging Face Hub ({})",
           name, (openai_cache() / file).string(), fmt::join(vocabulary_repositories, ", "));
    }
  const std::string repository = open_clip_repository(name).value_or(without_prefix(name, hub_prefix));
  const auto slashes = std::ranges::count(repository, '/');
  if (slashes == 1)
    if (const auto snapshot = cached_snapshot(repository)) return *snapshot;
  if (repository == name && is_path(name)) fail("{}: no such file or folder", name);
  if (slashes == 0)
    fail("{}: no such file or folder, nor one of OpenAI's names ({})", name,
         fmt::join(std::views::keys(openai_files), ", "));
  fail(
      "{}: no such file or folder, and not in the Hugging Face cache ({}); if it is a repository there, hf download {} "
      "fetches it",
      name, hugging_face_cache().string(), repository);
}

std::optional<path> find_openai_vocabulary() {
  for (const char* repository : vocabulary_repositories)
    if (const auto snapshot = cached_snapshot(repository))
      if (const auto found = vocabulary_in(*snapshot)) return found;
  return vocabulary_in(openai_cache());
}

std::optional<path> find_vocabulary(const path& folder, int vocab_size) {
  if (const auto found = vocabulary_in(folder)) return found;
  return vocab_size == openai_vocab_size ? find_openai_vocabulary() : std::nullopt;
}

}  // namespace gondola
