"""A tiny cross-encoder for tests, written in a moment: 23,000 random weights in BERT's architecture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

MAX_TOKENS = 64
_SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_WORDS = (
    "a the in of and at with red green blue white old new small large cat dog mug bicycle lighthouse river city beach "
    "dusk dawn people live many museum known for its word it has are is on under how where . , ? ##s ##es"
)


def make_tiny_cross_encoder(directory: Path, *, labels: int = 1, seed: int = 0, reads_segments: bool = True) -> Path:
    """Writes the files of `save_pretrained`. Scores are meaningless, reproducible for a seed, and clearly different.

    The model's limit is 64 tokens.
    """
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    vocabulary = [
        *_SPECIAL_TOKENS,
        *"abcdefghijklmnopqrstuvwxyz0123456789",
        *(f"##{letter}" for letter in "abcdefghij"),
    ]
    vocabulary += _WORDS.split()
    vocabulary = list(dict.fromkeys(vocabulary))
    _make_tokenizer(vocabulary, reads_segments).save_pretrained(directory)
    architecture = BertConfig(  # type: ignore[call-arg]  # which transformers take by name
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=MAX_TOKENS,
        num_labels=labels,
    )
    model = BertForSequenceClassification(architecture)
    _draw_weights(model, np.random.default_rng(seed))
    model.save_pretrained(directory)
    return directory


def _make_tokenizer(vocabulary: list[str], reads_segments: bool) -> PreTrainedTokenizerFast:
    ids = {word: index for index, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    names = {f"{token.strip('[]').lower()}_token": token for token in _SPECIAL_TOKENS}
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        model_max_length=MAX_TOKENS,
        model_input_names=["input_ids", *(["token_type_ids"] if reads_segments else []), "attention_mask"],
        **names,
    )


def _draw_weights(model: torch.nn.Module, generator: np.random.Generator) -> None:
    """Wide enough that other words, another order and another padding give clearly other scores."""
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            if weight.ndim != 2:
                continue
            spread = 1.0 if "embeddings" in name else 1.5 / math.sqrt(weight.shape[1])
            noise = generator.standard_normal(tuple(weight.shape), dtype=np.float32)
            weight.copy_(torch.from_numpy(noise * np.float32(spread)))
