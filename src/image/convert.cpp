// Pillow's conversions to "RGB" (src/libImaging/Convert.c).
#include <algorithm>
#include <utility>

#include "image/image.h"
#include "image/premultiply.h"

namespace gondola {
namespace {

/// Calls pixel(source, target) for each pixel, with pointers to its first byte in each image.
template <int target_bytes, class Pixel>
Image convert_pixels(const Image& image, PixelMode mode, Pixel pixel) {
  Image result = make_uninitialised_image(mode, image.width, image.height);
  const std::uint8_t* source = image.pixels.data();
  const int source_bytes = image.bytes_per_pixel();
  std::uint8_t* const end = result.pixels.data() + result.pixels.size();
  for (std::uint8_t* target = result.pixels.data(); target != end; target += target_bytes, source += source_bytes)
    pixel(source, target);
  return result;
}

template <int target_bytes>
Image convert_colours(const Image& image, PixelMode mode) {
  const auto grey = [](std::uint8_t value, std::uint8_t* target) { target[0] = target[1] = target[2] = value; };
  switch (image.mode) {
    case PixelMode::bilevel:
    case PixelMode::grey:
    case PixelMode::grey_alpha:
      return convert_pixels<target_bytes>(
          image, mode, [&](const std::uint8_t* source, std::uint8_t* target) { grey(source[0], target); });
    case PixelMode::grey16:
      return convert_pixels<target_bytes>(image, mode, [&](const std::uint8_t* source, std::uint8_t* target) {
        grey(source[1] != 0 ? 255 : source[0], target);
      });
    case PixelMode::palette:
      return convert_pixels<target_bytes>(image, mode, [&](const std::uint8_t* source, std::uint8_t* target) {
        std::copy_n(image.palette.data() + std::size_t{4} * source[0], 3, target);
      });
    case PixelMode::cmyk:
      return convert_pixels<target_bytes>(image, mode, [](const std::uint8_t* source, std::uint8_t* target) {
        const int white = 255 - source[3];
        for (int c = 0; c < 3; ++c)
          target[c] = static_cast<std::uint8_t>(std::clamp(white - multiply_255(source[c], white), 0, 255));
      });
    case PixelMode::rgb:
    case PixelMode::rgba:
      break;
  }
  return convert_pixels<target_bytes>(
      image, mode, [](const std::uint8_t* source, std::uint8_t* target) { std::copy_n(source, 3, target); });
}

bool has_transparency(const Image& image) {
  if (image.mode != PixelMode::palette) return has_alpha(image.mode) || image.transparent_colour.has_value();
  for (std::size_t i = 3; i < image.palette.size(); i += 4)
    if (image.palette[i] != 255) return true;
  return false;
}

/// One channel of Pillow's alpha_composite over opaque white, with its 7 extra bits of precision
/// (src/libImaging/AlphaComposite.c).
std::uint8_t over_white(std::uint32_t value, std::uint32_t alpha) {
  if (alpha == 0) return 255;
  const std::uint32_t sum = value * (alpha << 7) + 255 * ((255 - alpha) << 7) + (0x80 << 7);
  return static_cast<std::uint8_t>((((sum >> 8) + sum) >> 8) >> 7);
}

}  // namespace

Image to_rgba(const Image& image) {
  Image rgba = convert_colours<4>(image, PixelMode::rgba);
  const std::size_t count = rgba.pixels.size() / 4;
  std::uint8_t* const out = rgba.pixels.data();
  switch (image.mode) {
    case PixelMode::grey_alpha:
    case PixelMode::rgba: {  // alpha is the last byte
      const auto bytes = static_cast<std::size_t>(image.bytes_per_pixel());
      for (std::size_t i = 0; i < count; ++i) out[4 * i + 3] = image.pixels[bytes * (i + 1) - 1];
      break;
    }
    case PixelMode::palette:
      for (std::size_t i = 0; i < count; ++i) out[4 * i + 3] = image.palette[std::size_t{4} * image.pixels[i] + 3];
      break;
    default: {
      // Pillow compares the low bytes of the transparent colour, even in 16-bit files, with the converted pixel.
      std::array<std::uint8_t, 3> transparent{};
      std::copy_n(image.transparent_colour->begin(), 3, transparent.begin());
      for (std::size_t i = 0; i < count; ++i)
        out[4 * i + 3] = std::equal(transparent.begin(), transparent.end(), out + 4 * i) ? 0 : 255;
    }
  }
  return rgba;
}

Image to_rgb(Image image) {
  if (image.mode == PixelMode::rgb) return image;
  return convert_colours<3>(image, PixelMode::rgb);
}

Image to_rgb_over_white(Image image) {
  if (!has_transparency(image)) return to_rgb(std::move(image));
  return convert_pixels<3>(to_rgba(image), PixelMode::rgb, [](const std::uint8_t* source, std::uint8_t* target) {
    for (int c = 0; c < 3; ++c) target[c] = over_white(source[c], source[3]);
  });
}

}  // namespace gondola
