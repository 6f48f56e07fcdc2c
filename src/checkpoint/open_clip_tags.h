#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace gondola {

/// The Hugging Face repository of an open_clip model and tag ("ViT-B-32/laion2b_s34b_b79k"), as open_clip/pretrained.py
/// lists it; nothing for a name that is not in the list.
std::optional<std::string> open_clip_repository(std::string_view name);

}  // namespace gondola
