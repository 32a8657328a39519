"""Random long texts that are difficult for tokenizers, and tokenizers of every kind."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.tiny_models.tokenizer import write_tiny_tokenizer

ENGLISH = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "and",
    "then",
    "some",
    "more",
    "photo",
    "of",
    "cat",
]
GERMAN = ["schöne", "Grüße", "aus", "München", "Äpfel", "über", "Öl", "Straße"]
FRENCH = ["élève", "à", "côté", "où", "ça", "É", "À", "d’être"]
RUSSIAN = [
    "быстрая",
    "коричневая",
    "лиса",
    "прыгает",
    "через",
    "ленивую",
    "собаку",
    "Ещё",
    "Ёлка",
    "С",
    "В",
    "Г",
    "и",
    "о",
]
ENTITIES = [
    "&amp;",
    "&amp;lt;",
    "&lt;",
    "&eacute;",
    "&Atilde;&copy;",
    "&#39;",
    "&#233;",
    "&#xe9;",
    "&amp;amp;",
    "&ntilde",
    "&NTILDE;",
    "&",
    "AT&T",
    "&#000065",
    "&notin;",
    "&amp;amp;amp;lt;",
    "&#38;#233;",
    "&#27;[31m",
    "&amp",
    "&#195;&#169;",
    "&#1234567890123456789;",
]
MOJIBAKE = ["Ã ", "Ã©", "â€™", "Â ", "à ", "С ", "Ð ", "â€œ", "â€\ufffd", "\x85", "\x1a", "\ufffd"]
Clean = Callable[[str], str]


class StrangeTexts:
    """Generates random texts from `rng`."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def text(self) -> str:
        joint = self._rng.choice(["", " ", ""])
        return joint.join(self._part() for _ in range(self._rng.choice([1, 2, 5, 20, 60])))

    def _part(self) -> str:
        count = self._rng.choice([1, 3, 30, 300])
        kinds: Sequence[Callable[[int], str]] = (
            lambda n: self._words(ENGLISH, n),
            lambda n: self._words(self._rng.choice([GERMAN, FRENCH, RUSSIAN]), n),
            lambda n: self._misread(self._words(self._rng.choice([GERMAN, FRENCH, RUSSIAN]), n)),
            lambda n: "".join(self._rng.choices(ENTITIES, k=min(n, 40))),
            lambda n: self._rng.choice([" ", "\t", "\u3000", "\u00a0", "\u200b", "\r", "\r\n", "\u2028", "\n"]) * n,
            lambda n: self._rng.choice("!?.,-_#*=~") * 3 * n,
            lambda n: "a" + "".join(self._rng.choices("\u0301\u0323\u0308\u0327", k=n)),
            lambda n: "".join(self._rng.choices("\u200b\u200d\ufeff\u2060\u00ad", k=n)),
            lambda n: "".join(self._rng.choices(string.ascii_letters + string.digits + "+/", k=8 * n)),
            lambda n: "".join(chr(self._rng.randint(0x4E00, 0x9FFF)) for _ in range(3 * n)),
            lambda n: "\x1b[" + "1;" * n + self._rng.choice(["m", "", " "]),
            lambda _: self._rng.choice(["<", "<b>", "</p>", "\n", " "]),
            lambda n: "".join(
                chr(self._rng.choice([0x20, 0x100, 0x2000]) + self._rng.randrange(300)) for _ in range(n)
            ),
            lambda n: "ΑΣ" + self._rng.choice(["", " ", "'", "\u0301"]) * n + self._rng.choice(["", "α", "1"]),
            lambda n: self._rng.choice("ahA0") * 4 * n,
            lambda n: self._rng.choice(MOJIBAKE) * min(n, 4),
            lambda n: "＆ａｍｐ；" * min(n, 3) + "ｶﾞ" + "ﬁﬂĲŉ",
            lambda n: "".join(self._rng.choices("\u1100\u1161\u11a8가각", k=n)),
        )
        return self._rng.choice(kinds)(count)

    def _words(self, words: Sequence[str], count: int) -> str:
        return " ".join(self._rng.choices(words, k=count)) + self._rng.choice(["", " "])

    def _misread(self, text: str) -> str:
        encoding = self._rng.choice(["latin-1", "windows-1252", "macroman", "cp437", "windows-1251"])
        return text.encode().decode(encoding, "replace")


def make_tokenizers(directory: Path) -> dict[str, tuple[Any, int]]:
    """open_clip's tokenizer objects and their context lengths, by name: like SigLIP's, of other kinds, and CLIP's."""
    made: dict[str, tuple[Any, int]] = {"clip": (SimpleTokenizer(), 77), "lower": (SimpleTokenizer(clean="lower"), 20)}
    (directory / "siglip").mkdir()
    write_tiny_tokenizer(directory / "siglip", 800, 64)
    made["siglip"] = _load(directory / "siglip", 64, "canonicalize"), 64
    made["siglip, short"] = _load(directory / "siglip", 9, "whitespace"), 9
    made["repeats"] = _write(directory / "repeats", _repeating(), 16), 16
    made["gemma"] = _write(directory / "gemma", _merging(), 16), 16
    made["bert"] = _write(directory / "bert", _word_pieces(), 16), 16
    return made


def _repeating() -> Tokenizer:
    """A tokenizer that splits a run of `a` differently by where the run ends."""
    pieces = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("\u2581", -3.0),
        ("aaa", -1.0),
        ("aa", -1.2),
        ("a", -10.0),
    ]
    pieces += [(letter, -8.0) for letter in string.ascii_lowercase[1:] + string.digits]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


def _merging() -> Tokenizer:
    """A tokenizer that does not split at blanks."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.decoder = decoders.Replace("\u2581", " ")
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<pad>", "</s>", "<unk>"], initial_alphabet=list(string.printable)
    )
    tokenizer.train_from_iterator([" ".join(ENGLISH * 20), "a" * 30], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


def _word_pieces() -> Tokenizer:
    tokens = ["<pad>", "</s>", "<unk>", *string.ascii_lowercase, *("##" + letter for letter in string.ascii_lowercase)]
    vocabulary = {token: index for index, token in enumerate([*tokens, *ENGLISH[1:5], "##ow", "##ox"])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


def load_slow(directory: Path, **options: object) -> Any:
    """A tokenizer that exists in Python only: words for BERT, as in Japanese models."""
    directory.mkdir()
    letters = string.ascii_letters
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters)]
    (directory / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    config = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "basic", **options}
    (directory / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return _load(directory, 16, "whitespace")


def _write(directory: Path, tokenizer: Tokenizer, context_length: int) -> Any:
    directory.mkdir()
    tokenizer.save(str(directory / "tokenizer.json"))
    config: Mapping[str, object] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "model_max_length": context_length,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return _load(directory, context_length, "canonicalize")


def _load(directory: Path, context_length: int, clean: str) -> Any:
    return HFTokenizer(str(directory), context_length=context_length, clean=clean)
