#include "train/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace gondola {
namespace {

constexpr const char* style = R"(
:root { --back: #fff; --text: #1c2024; --faint: #6b7280; --line: #e3e6ea; --curve: #2563eb; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14171a; --text: #e6e8ea; --faint: #9aa3ad; --line: #2c3238; --curve: #7aa7ff; } }
body { background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.charts { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); }
figure { margin: 0; } figcaption { display: flex; justify-content: space-between; }
output { color: var(--faint); font-variant-numeric: tabular-nums; }
svg { display: block; width: 100%; }
svg text { fill: var(--faint); font-size: 10px; }
.grid { stroke: var(--line); fill: none; } .range { fill: var(--curve); opacity: .2; }
.mean { stroke: var(--curve); stroke-width: 1.5; fill: none; } .dot { fill: var(--curve); }
.cursor { stroke: var(--faint); stroke-dasharray: 2 2; visibility: hidden; }
table { border-collapse: collapse; } td, th { padding: .15rem 1rem .15rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
td:last-child { font-variant-numeric: tabular-nums; }
)";

/// Shows the point nearest to the pointer.
constexpr const char* script = R"(
for (const svg of document.querySelectorAll('svg')) {
  const points = JSON.parse(svg.dataset.points), cursor = svg.querySelector('.cursor');
  const output = svg.parentNode.querySelector('output'), last = output.textContent;
  svg.onpointermove = event => {
    const x = (event.clientX - svg.getBoundingClientRect().left) * svg.viewBox.baseVal.width / svg.clientWidth;
    const near = points.reduce((a, b) => Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a);
    cursor.setAttribute('x1', near[0]); cursor.setAttribute('x2', near[0]); cursor.style.visibility = 'visible';
    output.textContent = 'step ' + near[1] + ': ' + near[2];
  };
  svg.onpointerleave = () => { cursor.style.visibility = 'hidden'; output.textContent = last; };
}
)";

std::string escape(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      case '\'':
        safe += "&#39;";
        break;
      default:
        safe += c;
    }
  }
  return safe;
}

std::string short_number(double value) {
  return fmt::format("{:.4g}", value);
}

/// The largest of 1, 2, 5 × a power of ten that divides the range into at least three parts.
double tick_distance(double range) {
  const double power = std::pow(10, std::floor(std::log10(range / 3)));
  for (const double factor : {5, 2})
    if (factor * power <= range / 3) return factor * power;
  return power;
}

/// Points that fall on the same one of this many columns are drawn as one.
constexpr int columns = 300;

struct Bucket {
  double step = 0, sum = 0, low = 0, high = 0;
  int count = 0;
};

std::vector<Bucket> gather(const Curve& curve) {
  const double first = curve.steps.front(), range = std::max(curve.steps.back() - first, 1.0);
  std::vector<Bucket> buckets;
  int column = -1;
  for (std::size_t i = 0; i < curve.steps.size(); ++i) {
    const double value = curve.values[i];
    const int own = static_cast<int>((curve.steps[i] - first) / range * (columns - 1));
    if (own != column) buckets.push_back({0, 0, value, value, 0});
    column = own;
    Bucket& bucket = buckets.back();
    bucket.step = curve.steps[i];
    bucket.sum += value;
    bucket.low = std::min(bucket.low, value);
    bucket.high = std::max(bucket.high, value);
    ++bucket.count;
  }
  return buckets;
}

template <class T>
T& find_or_add(Named<T>& items, const std::string& name) {
  const auto found = std::find_if(items.begin(), items.end(), [&](const auto& item) { return item.first == name; });
  return found != items.end() ? found->second : items.emplace_back(name, T()).second;
}

std::string draw_figures(const Named<Curve>& curves) {
  std::string html = "<div class=\"charts\">\n";
  for (const auto& [name, curve] : curves)
    html += fmt::format("<figure><figcaption>{}<output>{}</output></figcaption>{}</figure>\n", escape(name),
                        short_number(curve.values.back()), draw_curve(curve));
  return html + "</div>\n";
}

template <class Rows>
std::string draw_table(const Rows& rows) {
  std::string html = "<table>\n";
  for (const auto& [name, value] : rows)
    html += fmt::format("<tr><th>{}</th><td>{}</td></tr>\n", escape(name), escape(value));
  return html + "</table>\n";
}

}  // namespace

void Curves::add(const nlohmann::ordered_json& line) {
  const auto set = line.find("validation");
  Named<Curve>& curves = set == line.end() ? training : find_or_add(validation, set->get<std::string>());
  const auto step = line.at("step").get<double>();
  for (const auto& [name, value] : line.items()) {
    if (name == "step" || !value.is_number()) continue;
    Curve& curve = find_or_add(curves, name);
    curve.steps.push_back(step);
    curve.values.push_back(value.get<double>());
  }
}

std::string draw_curve(const Curve& curve) {
  constexpr double width = 360, height = 180, left = 44, right = 8, top = 8, bottom = 20;
  const auto [low, high] = std::minmax_element(curve.values.begin(), curve.values.end());
  const double range = *high - *low, size = std::max(std::abs(*high), std::abs(*low));
  const bool is_constant = range <= 1e-9 * size;  // up to rounding, in which the distance of ticks would vanish
  const double margin = is_constant ? 0.1 * std::max(size, 1.0) : 0.05 * range;
  const double floor = *low - margin, ceiling = *high + margin;
  const double first = curve.steps.front(), last = std::max(curve.steps.back(), first + 1);
  const auto x = [&](double step) { return left + (width - left - right) * (step - first) / (last - first); };
  const auto y = [&](double value) {
    return height - bottom - (height - top - bottom) * (value - floor) / (ceiling - floor);
  };

  std::string svg, mean, above, below;
  const double distance = tick_distance(ceiling - floor);
  for (double tick = std::ceil(floor / distance) * distance; tick <= ceiling; tick += distance)
    svg += fmt::format(
        "<path class=\"grid\" d=\"M{} {:.1f}H{}\"/><text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>", left,
        y(tick), width - right, left - 4, y(tick) + 3, short_number(std::abs(tick) < distance / 2 ? 0 : tick));
  svg +=
      fmt::format("<text x=\"{}\" y=\"{}\">{:.0f}</text><text x=\"{}\" y=\"{}\" text-anchor=\"end\">step {:.0f}</text>",
                  left, height - 5, first, width - right, height - 5, curve.steps.back());
  Json points = Json::array();
  const auto buckets = gather(curve);
  for (const Bucket& bucket : buckets) {
    const double value = bucket.sum / bucket.count;
    mean += fmt::format("{}{:.1f} {:.1f}", mean.empty() ? "M" : "L", x(bucket.step), y(value));
    above += fmt::format("{}{:.1f} {:.1f}", above.empty() ? "M" : "L", x(bucket.step), y(bucket.high));
    below = fmt::format("L{:.1f} {:.1f}", x(bucket.step), y(bucket.low)) + below;
    points.push_back(
        {std::round(x(bucket.step) * 10) / 10, static_cast<std::int64_t>(bucket.step), short_number(value)});
  }
  if (buckets.size() < curve.values.size()) svg += fmt::format("<path class=\"range\" d=\"{}{}Z\"/>", above, below);
  svg += fmt::format("<path class=\"mean\" d=\"{}\"/>", mean);
  if (buckets.size() <= 30)
    for (const Bucket& bucket : buckets)
      svg += fmt::format("<circle class=\"dot\" r=\"2\" cx=\"{:.1f}\" cy=\"{:.1f}\"/>", x(bucket.step),
                         y(bucket.sum / bucket.count));
  svg += fmt::format("<line class=\"cursor\" y1=\"{}\" y2=\"{}\"/>", top, height - bottom);
  return fmt::format("<svg viewBox=\"0 0 {} {}\" data-points=\"{}\">{}</svg>", width, height, escape(points.dump()),
                     svg);
}

std::string make_report(const std::string& title, const Named<std::string>& summary,
                        const std::map<std::string, std::string>& recipe, const Curves& curves) {
  std::string html = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width\">\n<title>{0}</title>\n<style>{1}</style></head>\n"
      "<body>\n<h1>{0}</h1>\n{2}",
      escape(title), style, draw_table(summary));

  if (!curves.training.empty()) html += "<h2>Training</h2>\n" + draw_figures(curves.training);
  for (const auto& [set, figures] : curves.validation)
    html += fmt::format("<h2>Validation: {}</h2>\n", escape(set)) + draw_figures(figures);
  html += "<h2>Recipe</h2>\n" + draw_table(recipe);
  return html + fmt::format("<script>{}</script>\n</body>\n</html>\n", script);
}

}  // namespace gondola
