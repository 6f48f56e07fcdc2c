#include "image/resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "image/premultiply.h"
#include "image/resample_coefficients.h"

namespace gondola {
namespace {

/// The four channels of a pixel as lanes of a vector register.
using Lanes = std::int32_t __attribute__((vector_size(16)));
using ByteLanes = std::uint8_t __attribute__((vector_size(4)));

constexpr std::int32_t rounding = 1 << (weight_bits - 1);

std::uint8_t clip_to_byte(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> weight_bits, 0, 255));
}

/// Reads `bytes` of the four lanes; the others hold anything that is used for nothing.
template <int bytes>
Lanes load_lanes(const std::uint8_t* pixel) {
  ByteLanes lanes{};
  std::memcpy(&lanes, pixel, bytes);
  return __builtin_convertvector(lanes, Lanes);
}

/// Σ weight · pixel, all channels at once. Reads whole words, save of the last pixel, which may end the image.
template <int channels>
Lanes weighted_sum(const std::uint8_t* pixels, const std::int32_t* weights, int count) {
  Lanes sum = {rounding, rounding, rounding, rounding};
  constexpr int reachable = channels >= 2 ? 4 : 1;
  const int tail = channels == 2 || channels == 3 ? 1 : 0;
  int i = 0;
  for (; i < count - tail; ++i) sum += load_lanes<reachable>(pixels + i * channels) * weights[i];
  for (; i < count; ++i) sum += load_lanes<channels>(pixels + i * channels) * weights[i];
  return sum;
}

/// A part of the image that both passes count in pixels of: `pixels` holds it from (left, top) on.
struct Part {
  const Image& pixels;
  int left = 0, top = 0;

  const std::uint8_t* at(int column, int row) const {
    return pixels.row(row - top) + static_cast<std::ptrdiff_t>(column - left) * pixels.bytes_per_pixel();
  }
};

/// The columns pass, of target.height rows from `first_row` on.
template <int channels>
void resample_horizontally(const Part& source, int first_row, const Coefficients<std::int32_t>& coefficients,
                           Image& target) {
  for (int y = 0; y < target.height; ++y) {
    const std::uint8_t* in = source.at(source.left, first_row + y);
    std::uint8_t* out = target.row(y);
    for (const Taps& taps : coefficients.taps) {
      const Lanes sum = weighted_sum<channels>(in + (taps.first - source.left) * channels,
                                               coefficients.weights.data() + taps.offset, taps.count);
      for (int c = 0; c < channels; ++c) *out++ = clip_to_byte(sum[c]);
    }
  }
}

/// The rows pass, of target.width columns from `first_column` on.
void resample_vertically(const Part& source, int first_column, const Coefficients<std::int32_t>& coefficients,
                         Image& target) {
  const std::size_t count = target.row_bytes();
  std::vector<std::int32_t> sums(count);
  std::int32_t* const sum = sums.data();
  for (int y = 0; y < target.height; ++y) {
    const Taps& taps = coefficients.taps[static_cast<std::size_t>(y)];
    std::fill(sums.begin(), sums.end(), rounding);
    for (int i = 0; i < taps.count; ++i) {
      const std::uint8_t* in = source.at(first_column, taps.first + i);
      const std::int32_t weight = coefficients.weights[taps.offset + static_cast<std::size_t>(i)];
      for (std::size_t x = 0; x < count; ++x) sum[x] += in[x] * weight;
    }
    std::uint8_t* out = target.row(y);
    for (std::size_t x = 0; x < count; ++x) out[x] = clip_to_byte(sum[x]);
  }
}

/// Pillow's 16-bit path: the same in double precision, without fixed-point weights.
std::uint16_t clip_to_word(double sum) {
  const int rounded = static_cast<int>(sum >= 0.0 ? sum + 0.5 : sum - 0.5);
  return static_cast<std::uint16_t>(std::clamp(rounded, 0, 65535));
}

int load_word(const std::uint8_t* bytes) {
  return bytes[0] + (bytes[1] << 8);
}

void store_word(std::uint16_t value, std::uint8_t* bytes) {
  bytes[0] = static_cast<std::uint8_t>(value & 0xff);
  bytes[1] = static_cast<std::uint8_t>(value >> 8);
}

void resample_words(const Part& source, int first, const Coefficients<double>& coefficients, bool vertical,
                    Image& target) {
  for (int y = 0; y < target.height; ++y) {
    for (int x = 0; x < target.width; ++x) {
      const Taps& taps = coefficients.taps[static_cast<std::size_t>(vertical ? y : x)];
      const std::uint8_t* in = vertical ? source.at(first + x, taps.first) : source.at(taps.first, first + y);
      const std::size_t step = vertical ? source.pixels.row_bytes() : 2;
      double sum = 0.0;
      for (std::size_t i = 0; i < static_cast<std::size_t>(taps.count); ++i)
        sum += load_word(in + i * step) * coefficients.weights[taps.offset + i];
      store_word(clip_to_word(sum), target.row(y) + std::size_t{2} * x);
    }
  }
}

void resample_columns(const Part& source, int first_row, const Coefficients<double>& coefficients, Image& target) {
  switch (target.mode) {
    case PixelMode::grey16:
      return resample_words(source, first_row, coefficients, false, target);
    case PixelMode::grey_alpha:
      return resample_horizontally<2>(source, first_row, to_fixed_point(coefficients), target);
    case PixelMode::rgb:
      return resample_horizontally<3>(source, first_row, to_fixed_point(coefficients), target);
    case PixelMode::rgba:
    case PixelMode::cmyk:
      return resample_horizontally<4>(source, first_row, to_fixed_point(coefficients), target);
    default:
      return resample_horizontally<1>(source, first_row, to_fixed_point(coefficients), target);
  }
}

void resample_rows(const Part& source, int first_column, const Coefficients<double>& coefficients, Image& target) {
  if (target.mode == PixelMode::grey16)
    resample_words(source, first_column, coefficients, true, target);
  else
    resample_vertically(source, first_column, to_fixed_point(coefficients), target);
}

/// The source pixels that all taps together reach: begin and count.
std::pair<int, int> reach(const Coefficients<double>& coefficients) {
  const int begin = coefficients.taps.front().first;
  return {begin, coefficients.taps.back().first + coefficients.taps.back().count - begin};
}

/// Pillow's ImagingResampleInner (src/libImaging/Resample.c): columns first, or rows where the height shrinks by more
/// than twice the pixels that the width does; the first pass computes what the second needs, and a pass that changes
/// nothing is left out.
Image resample(const Image& image, const Axis& horizontal, const Axis& vertical, Interpolation interpolation,
               const Window& window) {
  const Part whole{image};
  const Coefficients<double> columns = filter_coefficients(horizontal, interpolation, window.left, window.width);
  const Coefficients<double> rows = filter_coefficients(vertical, interpolation, window.top, window.height);
  Image result = make_image_like(image, window.width, window.height);
  if (vertical.identity()) {
    if (horizontal.identity()) return crop(image, window);
    resample_columns(whole, window.top, columns, result);
    return result;
  }
  if (horizontal.identity()) {
    resample_rows(whole, window.left, rows, result);
    return result;
  }
  const std::int64_t lost_rows = image.height - vertical.out_size, lost_columns = image.width - horizontal.out_size;
  const bool rows_first = lost_rows > 0 && lost_rows > lost_columns * 2;
  if (rows_first) {
    const auto [left, width] = reach(columns);
    Image lowered = make_image_like(image, width, window.height);
    resample_rows(whole, left, rows, lowered);
    resample_columns({lowered, left, 0}, 0, columns, result);
  } else {
    const auto [top, height] = reach(rows);
    Image narrowed = make_image_like(image, window.width, height);
    resample_columns(whole, top, columns, narrowed);
    resample_rows({narrowed, 0, top}, 0, rows, result);
  }
  return result;
}

/// The source pixel of each output pixel in [begin, begin + count); −1 where rounding left the image.
std::vector<int> nearest_pixels(const Axis& axis, bool accumulate, int begin, int count) {
  std::vector<int> pixels;
  const double scale = static_cast<double>(axis.end - axis.begin) / axis.out_size;
  double position = axis.begin + scale * 0.5;
  for (int i = accumulate ? 0 : begin; i < begin + count; ++i) {
    if (!accumulate) position = scale * (i + 0.5) + axis.begin;
    if (i >= begin) {
      const int pixel = position < 0.0 ? -1 : static_cast<int>(position);
      pixels.push_back(pixel < axis.in_size ? pixel : -1);
    }
    position += scale;
  }
  return pixels;
}

/// Pillow's affine transform by nearest neighbour: ImagingScaleAffine adds up the positions pixel by pixel, rounding
/// errors included, but the general transform that 16-bit images take multiplies (src/libImaging/Geometry.c).
Image resize_nearest(const Image& image, const Axis& horizontal, const Axis& vertical, const Window& window) {
  const bool accumulate = image.mode != PixelMode::grey16;
  const std::vector<int> columns = nearest_pixels(horizontal, accumulate, window.left, window.width);
  const std::vector<int> rows = nearest_pixels(vertical, accumulate, window.top, window.height);
  Image result = make_image_like(image, window.width, window.height);
  const std::size_t pixel = static_cast<std::size_t>(image.bytes_per_pixel());
  for (int y = 0; y < window.height; ++y) {
    const int row = rows[static_cast<std::size_t>(y)];
    if (row < 0) continue;
    std::uint8_t* out = result.row(y);
    for (int column : columns) {
      if (column >= 0) std::memcpy(out, image.row(row) + static_cast<std::size_t>(column) * pixel, pixel);
      out += pixel;
    }
  }
  return result;
}

bool is_whole(float value) {
  return value == std::floor(value);
}

void check_arguments(const Image& image, int width, int height, const Box& box, const Window& window) {
  if (width < 1 || height < 1) fail("cannot resize an image to {} × {} pixels", width, height);
  const bool box_inside = box.left >= 0 && box.top >= 0 && box.left <= box.right && box.top <= box.bottom &&
                          box.right <= static_cast<float>(image.width) &&
                          box.bottom <= static_cast<float>(image.height);
  if (!box_inside) fail("resize: the box lies outside the image of {} × {} pixels", image.width, image.height);
  const bool window_inside = window.left >= 0 && window.top >= 0 && window.width >= 1 && window.height >= 1 &&
                             window.left <= width - window.width && window.top <= height - window.height;
  if (!window_inside) fail("resize: the window lies outside the result of {} × {} pixels", width, height);
}

}  // namespace

Image resize(const Image& image, int width, int height, Interpolation interpolation, const Box& box,
             const Window& window) {
  check_arguments(image, width, height, box, window);
  const Box whole{0, 0, static_cast<float>(image.width), static_cast<float>(image.height)};
  if (width == image.width && height == image.height && box == whole) return crop(image, window);
  const Axis horizontal{image.width, box.left, box.right, width};
  const Axis vertical{image.height, box.top, box.bottom, height};

  if (image.mode == PixelMode::bilevel || image.mode == PixelMode::palette) interpolation = Interpolation::nearest;
  if (has_alpha(image.mode) && interpolation != Interpolation::nearest) {
    return unpremultiply(resample(premultiply(image), horizontal, vertical, interpolation, window));
  }
  if (is_whole(box.left) && is_whole(box.top) && box.right - box.left == static_cast<float>(width) &&
      box.bottom - box.top == static_cast<float>(height))
    return crop(image, {static_cast<int>(box.left) + window.left, static_cast<int>(box.top) + window.top, window.width,
                        window.height});
  if (interpolation == Interpolation::nearest) return resize_nearest(image, horizontal, vertical, window);
  return resample(image, horizontal, vertical, interpolation, window);
}

Image resize(const Image& image, int width, int height, Interpolation interpolation, const Window& window) {
  return resize(image, width, height, interpolation,
                {0, 0, static_cast<float>(image.width), static_cast<float>(image.height)}, window);
}

Image resize(const Image& image, int width, int height, Interpolation interpolation) {
  return resize(image, width, height, interpolation, {0, 0, width, height});
}

}  // namespace gondola
