#include "base/json.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "tests/support/mutate.h"

namespace gondola {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

std::string nested(int depth) {
  return std::string(static_cast<std::size_t>(depth), '[') + std::string(static_cast<std::size_t>(depth), ']');
}

TEST(Json, RefusesDuplicateKeysInOneObject) {
  EXPECT_THAT([] { parse_json(R"({"a": 1, "b": {"c": 1, "c": 2}})", "f.json"); },
              ThrowsMessage<Error>(HasSubstr("f.json: JSON key \"c\" appears twice")));
  EXPECT_NO_THROW(parse_json(R"({"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]})", "f.json"));
}

TEST(Json, RefusesDeepNesting) {
  EXPECT_NO_THROW(parse_json(nested(60), "f.json"));
  EXPECT_THAT([] { parse_json(nested(100), "f.json"); }, ThrowsMessage<Error>(HasSubstr("deeper")));
  EXPECT_THROW(parse_json(std::string(1'000'000, '['), "f.json"), Error);
}

TEST(Json, NamesTheFileThatIsNotJson) {
  for (const char* text : {"", "{", "nan", "{\"a\": 1,}", "1 2", "\"\xff\"", "1e999"})
    EXPECT_THAT([&] { parse_json(text, "f.json"); }, ThrowsMessage<Error>(testing::StartsWith("f.json: "))) << text;
}

TEST(Json, RefusesRawNulBytes) {
  for (const char* after : {"", "{\"a\": 2}", "nonsense"})
    EXPECT_THAT([&] { parse_json(std::string("{}\0", 3) + after, "f.json"); },
                ThrowsMessage<Error>(HasSubstr("f.json: not valid JSON: a NUL at byte 2")))
        << after;
  EXPECT_EQ(parse_json(R"("\u0000")", "f.json"), std::string(1, '\0'));
}

TEST(Json, SurvivesDamage) {
  const std::string text = R"({"a": [1, -2.5e-3, true, null], "b": {"c": "\u00e9\ud83d\ude00 \"x\""}, "d": [[[]]]})";
  int parsed = 0;
  for (std::uint64_t number = 0; number < 20'000; ++number) {
    try {
      parse_json(test::mutate(text, number), "f.json");
      ++parsed;
    } catch (const Error&) {
    }
  }
  EXPECT_GT(parsed, 100);
}

TEST(JsonLine, KeepsOrderAndReplacesInvalidUtf8) {
  EXPECT_EQ(to_json_line({{"image", "b\xff.jpg"}, {"error", "a\nb"}}),
            "{\"image\":\"b\xef\xbf\xbd.jpg\",\"error\":\"a\\nb\"}");
}

TEST(JsonLine, EscapesTerminalControlCharacters) {
  const std::string text = "\x1b \x7f \xc2\x80 \xc2\x9f \xc2\xa0 \xc4\x80";  // the last two are characters
  const std::string line = to_json_line({{"image", text}});
  EXPECT_EQ(line, "{\"image\":\"\\u001b \\u007f \\u0080 \\u009f \xc2\xa0 \xc4\x80\"}");
  EXPECT_EQ(Json::parse(line).at("image"), text);
}

}  // namespace
}  // namespace gondola
