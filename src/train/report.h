#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace gondola {

/// A run as one page of HTML that needs nothing else: the curves of all numbers in `metrics` (lines of metrics.jsonl)
/// over the steps, the last figures of each validation set, the recipe's values, and `summary` on top.
std::string make_report(const std::string& title, const std::vector<std::pair<std::string, std::string>>& summary,
                        const std::map<std::string, std::string>& recipe,
                        const std::vector<nlohmann::ordered_json>& metrics);

struct Curve {
  std::vector<double> steps, values;
};

/// A curve as an SVG element: its mean and range where points lie closer than a pixel.
std::string draw_curve(const Curve& curve);

}  // namespace gondola
