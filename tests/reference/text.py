#!/usr/bin/env python3
"""Texts and their tokens by OpenAI's algorithm (clip/simple_tokenizer.py: ftfy, html, regex). Writes golden/text/:

  corpus.txt, vocab.json, merges.txt   a vocabulary of 1,000 merges, learned from the names of Unicode's characters
  strings.jsonl.gz         [text, ids], one per line: ordinary text in many scripts, emoji, HTML, quotes, line breaks,
                           wrong encodings, random code points
  bytes.json               [hexadecimal bytes, ids]: invalid UTF-8, replaced as errors="replace" does
  data.json                checksums of the ids of texts in the folder GONDOLA_TEST_DATA, with OpenAI's vocabulary; only
                           written when that folder is given
"""
import collections
import functools
import gzip
import html
import json
import os
import pathlib
import random
import unicodedata
import zlib

import ftfy
import regex

GOLDEN = pathlib.Path(__file__).parent / "golden" / "text"
GOLDEN.mkdir(parents=True, exist_ok=True)
PATTERN = regex.compile(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
                        regex.IGNORECASE)


def bytes_to_unicode():
    order = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = [chr(b) for b in order]
    for b in range(256):
        if b not in order:
            letters.append(chr(256 + len(order) - 188))
            order.append(b)
    return dict(zip(order, letters))


BYTES = bytes_to_unicode()


def clean(text):
    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return regex.sub(r"\s+", " ", text).strip().lower()


def is_unicode_14(text):
    """Whether a text, also once cleaned, has only characters of Python's Unicode; regex knows of later ones."""
    return all(unicodedata.category(c) not in ("Cn", "Cs") for c in text + clean(text))


def words(text):
    for word in PATTERN.findall(clean(text)):
        yield word, "".join(BYTES[b] for b in word.encode("utf-8"))


class Tokenizer:
    def __init__(self, merges):
        self.ranks = {tuple(m.split()): i for i, m in enumerate(merges)}
        letters = list(BYTES.values())
        tokens = letters + [letter + "</w>" for letter in letters] + ["".join(m.split()) for m in merges]
        self.ids = {t: i for i, t in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}

    @functools.lru_cache(None)
    def bpe(self, word):
        symbols = [*word[:-1], word[-1] + "</w>"]
        while len(symbols) > 1:
            best = min(zip(symbols, symbols[1:]), key=lambda pair: self.ranks.get(pair, float("inf")))
            if best not in self.ranks:
                break
            i = 0
            while i < len(symbols) - 1:
                if (symbols[i], symbols[i + 1]) == best:
                    symbols[i: i + 2] = ["".join(best)]
                i += 1
        return symbols

    def encode(self, text):
        ids = []
        for word, letters in words(text):
            if word in ("<|startoftext|>", "<|endoftext|>"):
                ids.append(self.ids[word])
            else:
                ids.extend(self.ids[symbol] for symbol in self.bpe(letters))
        return ids


def learn(corpus, count):
    """Byte-pair merges, the most frequent first and of equal ones the first in order."""
    counts = collections.Counter(letters for text in corpus for _, letters in words(text))
    split = {word: [*word[:-1], word[-1] + "</w>"] for word in counts}
    merges = []
    for _ in range(count):
        pairs = collections.Counter()
        for word, symbols in split.items():
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += counts[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair[0].encode(), pair[1].encode()))
        merges.append(" ".join(best))
        for word, symbols in split.items():
            if best[0] in symbols:
                i = 0
                while i < len(symbols) - 1:
                    if (symbols[i], symbols[i + 1]) == best:
                        symbols[i: i + 2] = ["".join(best)]
                    i += 1
    return merges


SENTENCES = """
The quick brown fox jumps over 13 lazy dogs; isn't it? — “Yes,” she'd said… they've come, I'm here, we'll see, you're in!
Über den Wolken muß die Freiheit wohl grenzenlos sein: „größer“ als 1½ Äpfel für 3 €.
Les élèves français mangent des crêpes à Noël, où l’œuvre naît; ça coûte 12 £ ou 5 ¥ « déjà ».
El niño comió piñas en España: ¿qué tal, señor? ¡Adiós!
Żółta gęś pije źródlaną wodę, łódź płynie; cena 5 zł – „tanio”.
Příliš žluťoučký kůň úpěl ďábelské ódy č. 7.
Árvíztűrő tükörfúrógép, őszi ködben.
Pijamalı hasta yağız şoföre çabucak güvendi, İstanbul’da ışık ve ığdır.
Съешь ещё этих мягких французских булок, да выпей чаю №5.
Чуєш їх, доцю, га? Кумедна ж ти, прощайся без ґольфів!
Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία· ΟΔΥΣΣΕΥΣ ΣΟΦΟΣ, ΣΑΣ.
Ąžuolas šlama, žąsys gagena, ėjo ūkininkas.
Glāžšķūņa rūķīši dzērumā čiepj Baha koncertflīģeļu vākus.
Høj bly gom vandt fræk sexquiz på wc; Ærø, Ålborg.
Kæmi ný öxi hér, ykist þjófum nú bæði víl og ádrepa.
דג סקרן שט בים מאוכזב ולפתע מצא חברה
نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر
ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश
เป็นมนุษย์สุดประเสริฐเลิศคุณค่า
いろはにほへと ちりぬるを、「カメラ」を買いました。ﾊﾝｶｸ ｶﾅ
我能吞下玻璃而不伤身体。（全角）１２３ＡＢＣ！
키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다.
Tiếng Việt: Bầy hoẵng vui ký ghế, nhìn chú chim sẻ.
I ❤️ 🐈‍⬛ and 👩🏽‍🚀! 🇫🇷 5️⃣ ☃ 🦆🦆 ™ ® © ½ ² ³ × ÷ ± °C µm
ℌ𝔢𝔩𝔩𝔬 𝒲𝑜𝓇𝓁𝒹 ＨＥＬＬＯ ﬁsh ﬂow oﬃce ĳs Ǆep ŉ ß ẞ ſt
""".strip().split("\n")

ENCODINGS = ["latin-1", "cp1252", "cp1251", "cp1250", "cp1253", "cp1254", "cp1257", "iso-8859-2", "mac_roman", "cp437",
             "sloppy-windows-1252", "sloppy-windows-1251", "sloppy-windows-1250", "sloppy-windows-1253"]


def decoded(data, encoding, errors="strict"):
    try:
        return data.decode(encoding, errors)
    except UnicodeDecodeError:
        return None


def wrong_encodings():
    """UTF-8 read in another encoding, once and twice, whole sentences and words, with bytes lost on the way."""
    for sentence in SENTENCES:
        for encoding in ENCODINGS:
            once = decoded(sentence.encode(), encoding)
            if once is None:
                lossy = decoded(sentence.encode(), encoding, "replace")
                yield lossy
                continue
            yield once
            yield once.replace("\xa0", " ")
            yield once.lower()
            yield once + " fine"
            twice = decoded(once.encode(), encoding)
            if twice is not None:
                yield twice
        for encoding in ("latin-1", "cp1252", "sloppy-windows-1252", "cp1251", "mac_roman"):
            for word in sentence.split():
                text = decoded(word.encode(), encoding, "replace")
                if any(ord(c) > 127 for c in word):
                    yield text
                    yield "the " + text + " is here"
        yield decoded(sentence.encode("utf-16", "surrogatepass"), "latin-1")
        cesu = b"".join(c.encode() if ord(c) < 0x10000 else
                        "".join(map(chr, ((ord(c) - 0x10000 >> 10) + 0xD800, (ord(c) & 0x3FF) + 0xDC00))).encode(
                            "utf-8", "surrogatepass") for c in sentence)
        yield decoded(cesu, "latin-1")
        yield decoded(cesu, "sloppy-windows-1252")
    for text in ["âœ” No problems", "The Mona Lisa doesnâ€™t have eyebrows.", "l’humanitÃ©", "Ã\xa0 perturber la rÃ©flexion",
                 "Ã perturber la rÃ©flexion", "â\x81”.", "vedere Ã¨ credere \x96 sÃ¬", "à̀ \x85", "À\n", "Ã\xa0", "voilÃ le travail",
                 "Â£5 â€” Â½", "ГўВЂВ™a", "РїСЂРёРІРµС‚", "√± ≈° ‚Äú", "&ATILDE;&SUP3;", "Ă˘Â€Âť", "fiancÃ©e", "dÃ©jÃ  vu", "\x93quoted\x94",
                 "caf\xe9 \x92s", "Â° 20Â°C", "É a conta", "\xc0\x80 null", "\xc3\xad\xc3\xad", "à² à²¨"]:
        yield text
        yield text + "\n" + text


HTML = ["&amp;", "&lt;b&gt;", "&amp;amp;", "&amp;amp;amp;", "&eacute;", "&eacute", "&EACUTE;", "&Eacute;", "&notit;", "&notin;",
        "&hellip", "&#39;", "&#x27;", "&#x1F600;", "&#128512", "&#0;", "&#13;", "&#x80;", "&#150;", "&#xD800;", "&#x110000;",
        "&#99999999999;", "&#xFFFE;", "&#1;", "&#59;", "&;", "&", "& ", "&#", "&#x", "&#xg;", "&bogus;", "<b>&amp;</b>", "&NTILDE;",
        "&SZLIG;", "&fjlig;", "&NotEqualTilde;", "&AMP", "&Amp;", "&copy2023", "&reg", "&para;graph", "&LT;", "&#X41;", "&nbsp;a&nbsp;",
        "&#160;&#8203;&#xfeff;", "&zwj;", "&ThickSpace;|", "&CounterClockwiseContourIntegral;", "a &lt; b &amp;&amp; c",
        "&frac12;&frac13", "&sup2", "&THORN;&ETH;&YUML;", "&AACUTE;&OUML;&AGRAVE"]
CONTROLS = ["a\r\nb\rc\u2028d\u2029e\x85f", "a\x00b\x08c\x0bd\x0ce\x1ff\x7f", "\x1b[36;44mblue\x1b[0m", "\x1b[x \x1b[1;1", "\ufeffbom",
            "a\u206ab\ufff9c\ufffc", "tab\tand\xa0nbsp\u3000wide", "\x1c\x1d\x1e\x1f sep", "soft\xadhyphen", "a\u200bb\u200dc", "\u180e x",
            "  lead and trail  ", "", " ", "\n", "\u2007fig\u202f", "e\u0301 o\u0308 \u212b \u1e9b\u0323", "\u0344 \u0f73 \u1100\u1161\u11a8",
            "<|startoftext|>hi<|endoftext|>", "<|STARTOFTEXT|>", "<|endoftext|", "'S 'T 'RE 'll' 'd'm", "don't DON'T l'll x's's", "it’s they‘ve",
            "\u017fomething 'ſ \u212a", "İstanbul IŞIK ΑΣ ΑΣ. ΑΣΑ 'ΑΣ' Σ ΣΣ a.Σ Α\u0301Σ", "ǅ Ǆ ŉ ﬅ ﬆ ﬀ", "１２３ ½ ⅷ ٣ 二 ²", "a_b-c/d\\e@f#g",
            "x" * 300, "!?" * 150, "ab" * 200 + "c", "日本語" * 60, "\x85\x96\x97 latin controls", "\x80\x81\x8d\x8f"]


def random_text(generator, pool, length):
    return "".join(generator.choice(pool) for _ in range(length))


def strings():
    generator = random.Random(7)
    yield from SENTENCES
    yield from (s.upper() for s in SENTENCES)
    yield from (unicodedata.normalize(form, s) for s in SENTENCES for form in ("NFD", "NFKC"))
    yield from wrong_encodings()
    yield from HTML
    yield from (f"a{x}b {y}" for x in HTML for y in HTML[::7])
    yield from CONTROLS
    assigned = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    letters = [c for c in assigned if unicodedata.category(c)[0] in "LN" and ord(c) < 0x3000]
    latin = [chr(c) for c in range(0x20, 0x250)]
    marks = [c for c in assigned if unicodedata.category(c)[0] == "M"]
    symbols = [c for c in assigned if unicodedata.category(c)[0] in "SPZ"]
    ascii_only = [chr(c) for c in range(0x20, 0x7F)]
    mojibake = sorted({c for pattern in ("latin-1", "cp1252", "cp1251", "cp437") for c in
                       bytes(range(0x80, 0x100)).decode(pattern, "ignore")})
    for count, pool, length in ((2500, assigned, 8), (2500, letters, 10), (2500, latin, 12), (800, symbols, 8),
                                (2500, ascii_only, 24), (1500, latin + marks[:400], 12), (2000, mojibake + list("abc "), 8)):
        for _ in range(count):
            yield random_text(generator, pool, generator.randrange(1, 2 * length))
    names = [unicodedata.name(c).capitalize() for c in assigned if unicodedata.name(c, "")]
    yield from generator.sample(names, 3000)


def checksum(ids):
    return zlib.crc32(b"".join(i.to_bytes(4, "little") for i in ids))


def write_data_checksums(data):
    """By set, one CRC-32 of all ids for every 1,000 texts."""
    merges = gzip.open(data / "openai-clip" / "bpe_simple_vocab_16e6.txt.gz").read().decode().split("\n")
    tokenizer = Tokenizer(merges[1: 49152 - 256 - 2 + 1])
    classes = json.loads((data / "openai-clip" / "imagenet_classes.json").read_text())
    templates = json.loads((data / "openai-clip" / "imagenet_templates.json").read_text())
    lines = (data / "flickr8k-1000" / "captions.csv").read_text().split("\n")
    sets = {"flickr8k": lines, "prompts": (data / "openai-clip" / "prompts.md").read_text().split("\n"),
            "imagenet": [t.replace("{}", c) for c in classes for t in templates]}
    result = {}
    for name, texts in sets.items():
        chunks = [[i for text in texts[at: at + 1000] for i in tokenizer.encode(text)] for at in range(0, len(texts), 1000)]
        result[name] = [checksum(chunk) for chunk in chunks]
    (GOLDEN / "data.json").write_text(json.dumps(result) + "\n")


def main():
    # Merges of words that the strings below hold too, so that words are made of several tokens.
    corpus = [unicodedata.name(chr(c)).lower() for c in range(0x1000) if unicodedata.name(chr(c), "")] + SENTENCES
    merges = learn(corpus, 1000)
    tokenizer = Tokenizer(merges)
    (GOLDEN / "vocab.json").write_text(json.dumps(tokenizer.ids, ensure_ascii=False))
    (GOLDEN / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (GOLDEN / "corpus.txt").write_text("\n".join(corpus) + "\n")

    texts = list(dict.fromkeys(t for t in strings() if t is not None and is_unicode_14(t)))
    with gzip.GzipFile(GOLDEN / "strings.jsonl.gz", "wb", mtime=0) as file:
        for text in texts:
            file.write((json.dumps([text, tokenizer.encode(text)], separators=(",", ":")) + "\n").encode())

    generator = random.Random(3)
    broken = [b"\xff", b"abc\x80def", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xe2\x28\xa1",
              b"\xf0\x28\x8c\xbc", b"caf\xe9", b"\xfe\xfe\xff\xff", b"\xe0\x80\x80", b"\xf8\x88\x80\x80\x80"]
    broken += [bytes(generator.choice([*range(0x80, 0x100), 0x61, 0x20]) for _ in range(generator.randrange(1, 12))) for _ in range(400)]
    broken = [b for b in broken if is_unicode_14(b.decode("utf-8", "replace"))]
    (GOLDEN / "bytes.json").write_text(json.dumps([[b.hex(), tokenizer.encode(b.decode("utf-8", "replace"))] for b in broken]) + "\n")
    (GOLDEN / "made_with.json").write_text(json.dumps(
        {"ftfy": ftfy.__version__, "regex": regex.__version__,
         "unicode": unicodedata.unidata_version, "strings": len(texts)}, indent=1) + "\n")
    print(len(texts), "strings")
    if "GONDOLA_TEST_DATA" in os.environ:
        write_data_checksums(pathlib.Path(os.environ["GONDOLA_TEST_DATA"]))


if __name__ == "__main__":
    main()
