#include "image/resample.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "image/premultiply.h"
#include "image/resample_bytes.h"

namespace gondola {
namespace {

/// Pillow's 16-bit path: like the 8-bit one, but in double precision, without fixed-point weights.
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

/// The weighted sum of taps.count words, the first at `in` and each `step` bytes after the one before.
std::uint16_t weighted_word(const std::uint8_t* in, std::size_t step, const Taps& taps, const double* weights) {
  double sum = 0.0;
  for (int i = 0; i < taps.count; ++i) sum += load_word(in + static_cast<std::size_t>(i) * step) * weights[i];
  return clip_to_word(sum);
}

void resample_words(const Image& image, const Coefficients& columns, const Coefficients& rows, Image& result) {
  const SourceRange down = source_range(rows);
  Image narrowed = make_uninitialised_image_like(image, result.width, down.count);
  const auto each_pixel = [](Image& target, auto pixel) {
    for (int y = 0; y < target.height; ++y)
      for (int x = 0; x < target.width; ++x) store_word(pixel(x, y), target.row(y) + std::size_t{2} * x);
  };
  each_pixel(narrowed, [&](int x, int y) {
    const Taps& taps = columns.taps[static_cast<std::size_t>(x)];
    return weighted_word(image.row(down.begin + y) + std::size_t{2} * taps.first, 2, taps,
                         columns.weights.data() + taps.offset);
  });
  each_pixel(result, [&](int x, int y) {
    const Taps& taps = rows.taps[static_cast<std::size_t>(y)];
    return weighted_word(narrowed.row(taps.first - down.begin) + std::size_t{2} * x, narrowed.row_bytes(), taps,
                         rows.weights.data() + taps.offset);
  });
}

/// Resamples the columns first, then the rows.
Image resample(const Image& image, const Coefficients& columns, const Coefficients& rows) {
  Image result =
      make_uninitialised_image_like(image, static_cast<int>(columns.taps.size()), static_cast<int>(rows.taps.size()));
  if (image.mode == PixelMode::grey16)
    resample_words(image, columns, rows, result);
  else
    resample_bytes(image, columns, rows, resample_kernels_for(active_isa()), result);
  return result;
}

/// Pillow's ImagingResampleInner (src/libImaging/Resample.c): columns first, or rows if the height loses more than
/// twice as many pixels as the width; the first pass computes only what the second needs.
Image resample(const Image& image, const Axis& horizontal, const Axis& vertical, Interpolation interpolation,
               const Window& window) {
  Coefficients columns = filter_coefficients(horizontal, interpolation, window.left, window.width);
  const Coefficients rows = filter_coefficients(vertical, interpolation, window.top, window.height);
  const std::int64_t lost_rows = image.height - vertical.out_size, lost_columns = image.width - horizontal.out_size;
  const bool rows_first = lost_rows > 0 && lost_rows > lost_columns * 2;
  if (!rows_first) return resample(image, columns, rows);
  const auto same = [&](int size, int begin, int count) {
    return filter_coefficients({size, size}, interpolation, begin, count);
  };
  const SourceRange across = source_range(columns);
  const Image lowered = resample(image, same(image.width, across.begin, across.count), rows);
  for (Taps& taps : columns.taps) taps.first -= across.begin;
  return resample(lowered, columns, same(window.height, 0, window.height));
}

/// The source pixel of each output pixel in [begin, begin + count); −1 where rounding leads outside the image.
std::vector<int> nearest_pixels(const Axis& axis, bool accumulate, int begin, int count) {
  // Walks all pixels before them too. Pillow has no such limit, but would hold an image of that many rows or columns.
  constexpr int most_walked = 1 << 27;
  if (accumulate && begin + count > most_walked)
    fail("cannot scale {} pixels to {}: nearest neighbour would walk more than {}", axis.in_size, axis.out_size,
         most_walked);
  std::vector<int> pixels;
  const double scale = axis.scale();
  double position = scale * 0.5;
  for (int i = accumulate ? 0 : begin; i < begin + count; ++i) {
    if (!accumulate) position = scale * (i + 0.5);
    if (i >= begin) {
      const int pixel = static_cast<int>(position);
      pixels.push_back(pixel < axis.in_size ? pixel : -1);
    }
    position += scale;
  }
  return pixels;
}

/// Pillow's affine transform by nearest neighbour: ImagingScaleAffine adds up the positions pixel by pixel, rounding
/// errors included; the general transform, for 16-bit images, multiplies (src/libImaging/Geometry.c).
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

void check_arguments(int width, int height, const Window& window) {
  if (width < 1 || height < 1) fail("cannot resize an image to {} × {} pixels", width, height);
  const bool window_inside = window.left >= 0 && window.top >= 0 && window.width >= 1 && window.height >= 1 &&
                             window.left <= width - window.width && window.top <= height - window.height;
  if (!window_inside) fail("resize: the window lies outside the result of {} × {} pixels", width, height);
}

}  // namespace

Image resize(const Image& image, int width, int height, Interpolation interpolation, const Window& window) {
  check_arguments(width, height, window);
  const Axis horizontal{image.width, width}, vertical{image.height, height};
  if (horizontal.identity() && vertical.identity()) return crop(image, window);

  if (image.mode == PixelMode::bilevel || image.mode == PixelMode::palette) interpolation = Interpolation::nearest;
  if (has_alpha(image.mode) && interpolation != Interpolation::nearest) {
    return unpremultiply(resample(premultiply(image), horizontal, vertical, interpolation, window));
  }
  if (interpolation == Interpolation::nearest) return resize_nearest(image, horizontal, vertical, window);
  return resample(image, horizontal, vertical, interpolation, window);
}

Image resize(const Image& image, int width, int height, Interpolation interpolation) {
  return resize(image, width, height, interpolation, {0, 0, width, height});
}

}  // namespace gondola
