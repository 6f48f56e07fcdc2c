#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace gondola {

struct Curve {
  std::vector<double> steps, values;
};

/// Items by name, in order of first appearance.
template <class T>
using Named = std::vector<std::pair<std::string, T>>;

/// The numbers of a run over its steps.
struct Curves {
  Named<Curve> training;
  Named<Named<Curve>> validation;  // by set

  /// Adds the numbers of a line of metrics.jsonl.
  void add(const nlohmann::ordered_json& line);
};

/// Renders a run as one self-contained HTML page: `summary`, the curves of training and of each validation set with
/// their last figures, and the recipe's values.
std::string make_report(const std::string& title, const Named<std::string>& summary,
                        const std::map<std::string, std::string>& recipe, const Curves& curves);

/// Draws a curve as an SVG element; where points lie closer than a pixel, their mean and range.
std::string draw_curve(const Curve& curve);

}  // namespace gondola
