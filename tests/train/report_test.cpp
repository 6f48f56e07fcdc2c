#include "train/report.h"

#include <gmock/gmock.h>

#include <regex>

namespace gondola {
namespace {

using testing::HasSubstr;
using testing::Not;

Curves curves() {
  Curves all;
  for (int step = 1; step <= 2000; ++step) {
    all.add({{"step", step}, {"loss", step == 500 ? 9.5 : 5.0 - step / 1000.0}, {"scale", 14}});
    if (step % 1000 == 0)
      all.add({{"step", step}, {"validation", "photos <&> \"words\".csv"}, {"recall@1", step / 100}});
  }
  all.add({{"step", 2001}, {"loss", nullptr}, {"scale", 14}});  // what JSON makes of a loss that is not finite
  return all;
}

std::string report() {
  return make_report("my <run>", {{"steps", "2001"}}, {{"data.train", "[ '</script><b>' ]"}, {"train.seed", "7"}},
                     curves());
}

TEST(Report, ShowsEverySeriesAndTheRecipe) {
  const std::string html = report();
  for (const char* part : {"<figcaption>loss<output>3</output>", "<figcaption>scale<output>14</output>",
                           "<figcaption>recall@1<output>20</output>", "<th>train.seed</th><td>7</td>", "<td>2001</td>"})
    EXPECT_THAT(html, HasSubstr(part));
  EXPECT_LT(html.find("<figcaption>loss"), html.find("<figcaption>scale"));
}

TEST(Report, EscapesUntrustedText) {
  const std::string html = report();
  EXPECT_THAT(html, HasSubstr("my &lt;run&gt;"));
  EXPECT_THAT(html, HasSubstr("Validation: photos &lt;&amp;&gt; &quot;words&quot;.csv"));
  EXPECT_THAT(html, HasSubstr("&lt;/script&gt;&lt;b&gt;"));
  EXPECT_THAT(html, Not(HasSubstr("<b>")));
}

TEST(Report, IsSelfContained) {
  EXPECT_FALSE(std::regex_search(report(), std::regex("https?:|//[a-z]|src=|href=|url\\(|@import|fetch\\(")));
}

/// The y coordinates of a path of the given class.
std::vector<double> heights(const std::string& svg, const std::string& name) {
  const std::regex path("class=\"" + name + "\" d=\"([^\"]*)\""), point("[ML]([-0-9.]+) ([-0-9.]+)");
  std::smatch found;
  std::vector<double> values;
  if (!std::regex_search(svg, found, path)) return values;
  const std::string d = found[1];
  for (std::sregex_iterator at(d.begin(), d.end(), point), end; at != end; ++at) values.push_back(std::stod((*at)[2]));
  return values;
}

TEST(Curve, KeepsExtremesOfManyPoints) {
  Curve curve;
  for (int step = 0; step < 10000; ++step) {
    curve.steps.push_back(step);
    curve.values.push_back(step == 5000 ? 1 : 0);
  }
  const std::string svg = draw_curve(curve);
  const auto mean = heights(svg, "mean"), range = heights(svg, "range");
  EXPECT_LE(mean.size(), 300u);
  const auto [top, bottom] = std::minmax_element(range.begin(), range.end());
  EXPECT_GT(*bottom - *top, 100);  // the spike at full height
  EXPECT_LT(*std::max_element(mean.begin(), mean.end()) - *std::min_element(mean.begin(), mean.end()), 10);
  EXPECT_LT(svg.size(), 40'000u);
}

TEST(Curve, DrawsASinglePointAndAConstant) {
  for (const Curve& curve : {Curve{{7}, {3}}, Curve{{1, 2, 3}, {0, 0, 0}}, Curve{{1, 2}, {21.400000000000002, 21.4}}}) {
    const std::string svg = draw_curve(curve);
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
    EXPECT_THAT(svg, Not(HasSubstr("inf")));
    EXPECT_EQ(heights(svg, "mean").size(), curve.values.size());
    EXPECT_LT(svg.size(), 2000u);
  }
}

}  // namespace
}  // namespace gondola
