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

  /// The numbers of a line of metrics.jsonl.
  void add(const nlohmann::ordered_json& line);
};

/// A run as one page of HTML that needs nothing else: `summary`, the curves of training and of each validation set with
/// their last figures, the recipe's values.
std::string make_report(const std::string& title, const Named<std::string>& summary,
                        const std::map<std::string, std::string>& recipe, const Curves& curves);

/// A curve as an SVG element: its mean and range where points lie closer than a pixel.
std::string draw_curve(const Curve& curve);

}  // namespace gondola
