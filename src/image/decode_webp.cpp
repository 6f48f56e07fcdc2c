#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

#include "base/error.h"
#include "image/decoders.h"

namespace gondola {

// As in Pillow: the first frame (a still image has only one) on transparent black. Pillow uses WebPAnimDecoder, which
// holds the canvas twice.
Image decode_webp(ImageBytes bytes, std::string_view name, const DecodeOptions& options) {
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(bytes.data(), bytes.size(), &features) != VP8_STATUS_OK)
    fail("{}: damaged or truncated WebP header", name);
  check_dimensions(features.width, features.height, name, options);

  const WebPData data{bytes.data(), bytes.size()};
  const std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)> demuxer(WebPDemux(&data), &WebPDemuxDelete);
  WebPIterator frame{};
  const std::unique_ptr<WebPIterator, decltype(&WebPDemuxReleaseIterator)> owner(&frame, &WebPDemuxReleaseIterator);
  if (demuxer == nullptr || WebPDemuxGetFrame(demuxer.get(), 1, &frame) == 0)
    fail("{}: the WebP is damaged or truncated", name);
  const auto width = static_cast<int>(WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH));
  const auto height = static_cast<int>(WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT));
  check_dimensions(width, height, name, options);

  const bool fills_canvas = frame.width == width && frame.height == height;
  Image image = (fills_canvas ? make_uninitialised_image : make_image)(
      features.has_alpha ? PixelMode::rgba : PixelMode::rgb, width, height);
  const std::size_t start = static_cast<std::size_t>(frame.y_offset) * image.row_bytes() +
                            static_cast<std::size_t>(frame.x_offset * image.bytes_per_pixel());
  const auto decode = features.has_alpha ? WebPDecodeRGBAInto : WebPDecodeRGBInto;
  if (decode(frame.fragment.bytes, frame.fragment.size, image.pixels.data() + start, image.pixels.size() - start,
             static_cast<int>(image.row_bytes())) == nullptr)
    fail("{}: damaged WebP frame", name);
  return image;
}

}  // namespace gondola
