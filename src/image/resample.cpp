#include "image/resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>

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

/// Columns of `rows` rows from `first_row` on.
template <int channels>
void resample_horizontally(const Image& source, int first_row, const Coefficients<std::int32_t>& coefficients,
                           Image& target) {
  for (int y = 0; y < target.height; ++y) {
    const std::uint8_t* in = source.row(first_row + y);
    std::uint8_t* out = target.row(y);
    for (const Taps& taps : coefficients.taps) {
      const Lanes sum =
          weighted_sum<channels>(in + taps.first * channels, coefficients.weights.data() + taps.offset, taps.count);
      for (int c = 0; c < channels; ++c) *out++ = clip_to_byte(sum[c]);
    }
  }
}

/// Rows; the taps count rows of the file, of which source holds those from first_row on.
void resample_vertically(const Image& source, int first_row, const Coefficients<std::int32_t>& coefficients,
                         Image& target) {
  const std::size_t count = target.row_bytes();
  std::vector<std::int32_t> sums(count);
  std::int32_t* const sum = sums.data();
  for (int y = 0; y < target.height; ++y) {
    const Taps& taps = coefficients.taps[static_cast<std::size_t>(y)];
    std::fill(sums.begin(), sums.end(), rounding);
    for (int i = 0; i < taps.count; ++i) {
      const std::uint8_t* in = source.row(taps.first - first_row + i);
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

void resample_words(const Image& source, int first_row, const Coefficients<double>& coefficients, bool vertical,
                    Image& target) {
  for (int y = 0; y < target.height; ++y) {
    for (int x = 0; x < target.width; ++x) {
      const Taps& taps = coefficients.taps[static_cast<std::size_t>(vertical ? y : x)];
      const std::uint8_t* in = vertical ? source.row(taps.first - first_row) + std::size_t{2} * x
                                        : source.row(first_row + y) + std::size_t{2} * taps.first;
      const std::size_t step = vertical ? source.row_bytes() : 2;
      double sum = 0.0;
      for (std::size_t i = 0; i < static_cast<std::size_t>(taps.count); ++i)
        sum += load_word(in + i * step) * coefficients.weights[taps.offset + i];
      store_word(clip_to_word(sum), target.row(y) + std::size_t{2} * x);
    }
  }
}

void resample_columns(const Image& source, int first_row, const Coefficients<double>& coefficients, Image& target) {
  switch (source.mode) {
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

/// Pillow's ImagingResample: columns first, of the rows that the second pass needs; a pass that changes nothing is left
/// out.
Image resample(const Image& image, const Axis& horizontal, const Axis& vertical, Interpolation interpolation,
               const Window& window) {
  const Coefficients<double> rows = filter_coefficients(vertical, interpolation, window.top, window.height);
  int first_row = window.top, row_count = window.height;
  if (!vertical.identity()) {
    first_row = rows.taps.front().first;
    row_count = rows.taps.back().first + rows.taps.back().count - first_row;
  }
  Image narrowed;
  if (horizontal.identity()) {
    narrowed = crop(image, {window.left, first_row, window.width, row_count});
  } else {
    narrowed = make_image_like(image, window.width, row_count);
    resample_columns(image, first_row, filter_coefficients(horizontal, interpolation, window.left, window.width),
                     narrowed);
  }
  if (vertical.identity()) return narrowed;
  Image result = make_image_like(image, window.width, window.height);
  if (image.mode == PixelMode::grey16)
    resample_words(narrowed, first_row, rows, true, result);
  else
    resample_vertically(narrowed, first_row, to_fixed_point(rows), result);
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
