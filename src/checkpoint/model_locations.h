#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace gondola {

/// Finds the folder or file that a name stands for: a path (or open_clip's "local-dir:…"), one of OpenAI's names
/// ("ViT-B/32") in ~/.cache/clip, a Hugging Face repository ("openai/clip-vit-base-patch32", open_clip's "hf-hub:…") or
/// an open_clip tag ("ViT-B-32/laion2b_s34b_b79k") in the Hugging Face cache. Throws Error that says where it was
/// looked for.
std::filesystem::path find_model(const std::string& name_or_path);

/// Finds OpenAI's vocabulary of 49,408 tokens in the caches.
std::optional<std::filesystem::path> find_openai_vocabulary();

/// Finds a vocabulary in `folder` or, for OpenAI's 49,408 tokens, which many models share, in the caches.
std::optional<std::filesystem::path> find_vocabulary(const std::filesystem::path& folder, int vocab_size);

}  // namespace gondola
