#include <webp/decode.h>
#include <webp/demux.h>

#include <cstring>
#include <memory>

#include "base/error.h"
#include "image/decoders.h"

namespace gondola {

// As Pillow: every file goes through the animation decoder, which paints the first frame onto a transparent canvas.
Image decode_webp(ImageBytes bytes, std::string_view name, const DecodeOptions& options) {
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(bytes.data(), bytes.size(), &features) != VP8_STATUS_OK)
    fail("{}: damaged or truncated WebP header", name);
  check_dimensions(features.width, features.height, name, options);

  const WebPData data{bytes.data(), bytes.size()};
  const std::unique_ptr<WebPAnimDecoder, decltype(&WebPAnimDecoderDelete)> decoder(WebPAnimDecoderNew(&data, nullptr),
                                                                                   &WebPAnimDecoderDelete);
  WebPAnimInfo info;
  if (decoder == nullptr || !WebPAnimDecoderGetInfo(decoder.get(), &info))
    fail("{}: the WebP is damaged or truncated", name);
  check_dimensions(info.canvas_width, info.canvas_height, name, options);
  std::uint8_t* canvas = nullptr;
  int timestamp = 0;
  if (!WebPAnimDecoderGetNext(decoder.get(), &canvas, &timestamp)) fail("{}: damaged WebP frame", name);

  Image image = make_image(features.has_alpha ? PixelMode::rgba : PixelMode::rgb, static_cast<int>(info.canvas_width),
                           static_cast<int>(info.canvas_height));
  const std::size_t channels = static_cast<std::size_t>(image.bytes_per_pixel());
  const std::size_t count = image.pixels.size() / channels;
  for (std::size_t i = 0; i < count; ++i) std::memcpy(image.pixels.data() + i * channels, canvas + 4 * i, channels);
  return image;
}

}  // namespace gondola
