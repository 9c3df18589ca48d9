#!/usr/bin/env python3
"""Make the bundled tiny model and its task data from generated text only.

The harness needs a real language model that fits into its repository: one that a server can
load in seconds on a CPU, that answers measurably (and not perfectly), and whose data nobody
else owns. This script generates a small world of invented facts and stories, trains a
tokenizer and a 4.2M-parameter Llama on it, saves the model in bfloat16, measures what was
saved, and writes the model card and three task files:

    OUT/models/tiny/              the model, its tokenizer and its card
    OUT/tasks/data/facts_mc.jsonl       multiple choice with four choices
    OUT/tasks/data/facts_gen.jsonl      exact match on a generated answer
    OUT/tasks/data/text_heldout.jsonl   stories kept out of training, for perplexity

The same seed, step count and thread count on the same kind of machine give the same model.
The data section needs the standard library alone, so it can be imported without torch.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

DEFAULT_SEED = 20240607
DEFAULT_STEPS = 1000

# ---------------------------------------------------------------------------------------------
# Data: a generated world. Pure functions of a seed; standard library only.
# ---------------------------------------------------------------------------------------------

N_ENTITIES = 240
# Names that appear in stories and have no facts.
N_SIDE_CHARACTERS = 120
HELD_SHARE = 0.25
N_TRAIN_STORIES = 6000
N_HELDOUT_STORIES = 60
N_GEN_ITEMS = 480
N_CHOICES = 4
# Facts differ in how often training shows them: the rarest is sampled this much less often than
# the commonest. With 0.02 the model got 99.6 % right, and a score without room hides damage; a
# wider spread leaves some facts near the decision boundary, where quantisation can tip them.
RAREST_WEIGHT = 0.008


def words(text: str) -> list[str]:
    """Split a list of words that reads better as one line of text."""
    return text.split()


SYLLABLES = words(
    "ba do ki lu me no pra qui ro sta tu ve wi xo zor gan fel hu jem cla "
    "bri dan eth mor nil osk pel rin sul tav"
)

ATTRIBUTES: dict[str, list[str]] = {
    "colour": words("red blue green white black orange purple yellow"),
    "metal": words("iron gold silver copper tin lead zinc nickel"),
    "animal": words("wolf eagle horse snake tiger whale rabbit spider"),
    "instrument": words("drum flute harp violin trumpet piano guitar bell"),
}

STATEMENTS = (
    "The {a} of {n} is {v}.",
    "{n} has the {a} {v}.",
    "As for the {a} of {n}, it is {v}.",
)

WORDS: dict[str, list[str]] = {
    "weather": words("rainy sunny windy foggy snowy quiet warm cold bright stormy"),
    "time": words("morning evening afternoon night day"),
    "place": words(
        "river market forest bridge castle harbour garden mountain valley library village "
        "meadow tower island mill cave lighthouse orchard"
    ),
    "thing": words(
        "lantern basket letter key map rope book coat bottle clock mirror box ladder kite "
        "blanket hammer candle spoon"
    ),
    "food": words("bread soup apples cheese honey rice plums berries cake nuts"),
    "quality": words("old small heavy broken shiny strange wooden empty round clean"),
    "feeling": words("happy tired curious proud afraid calm hungry surprised lonely cheerful"),
    "job": words("baker sailor painter farmer teacher carpenter weaver doctor gardener potter"),
    "number": words("two three four five six seven eight nine ten eleven twelve"),
    "verb": words("carried found lost painted repaired hid borrowed sold cleaned dropped"),
}

OPENINGS = (
    "One {weather} {time}, {n} walked to the {place}.",
    "On a {weather} {time}, {n} left the {place} and went to see {m}.",
    "{n} lived near the {place} and worked as a {job}.",
    "There was a {weather} {time} when {n} and {m} met at the {place}.",
    "Long ago, {n} the {job} came to the {place} with {number} friends.",
)

MIDDLES = (
    "{n} {verb} a {quality} {thing} and showed it to {m}.",
    "{m} was {feeling} because the {thing} was {quality}.",
    "They ate {food} and {food2} beside the {place}.",
    'Then {m} said: "I saw {number} {quality} boxes behind the {place}."',
    '"Who {verb} my {thing}?" asked {n}.',
    "The road from the {place} to the {place2} took {number} hours.",
    "A {job} gave {n} a {thing} in return for some {food}.",
    "{n} felt {feeling}, but {m} felt {feeling2}.",
    "After that they looked for the {thing} in the {place} for {number} days.",
    "It was a {weather} {time}, so {m} stayed at the {place}.",
    "Nobody at the {place} had seen a {thing} as {quality} as this one.",
    "{m} counted {number} candles and {number2} keys on the table.",
)

CLOSINGS = (
    "In the end, {n} was {feeling} and went home.",
    "When the {time} was over, {n} and {m} shared the {food}.",
    "And so the {quality} {thing} stayed at the {place}.",
    "{n} never forgot that {weather} {time}.",
    "At last {m} gave the {thing} back to {n}.",
)


@dataclass(frozen=True)
class Fact:
    """One generated fact; `held` says that training never shows it as a question."""

    entity: str
    attribute: str
    value: str
    held: bool
    weight: float


@dataclass(frozen=True)
class World:
    """Everything that one seed generates, before any tokenising."""

    facts: list[Fact]
    train_stories: list[tuple[str, str]]
    heldout_stories: list[tuple[str, str]]
    mc_rows: list[dict[str, Any]]
    gen_rows: list[dict[str, Any]]


def make_names(rng: random.Random, count: int) -> list[str]:
    """Return `count` different invented names of three different syllables each."""
    names: dict[str, None] = {}
    while len(names) < count:
        names["".join(rng.sample(SYLLABLES, 3)).capitalize()] = None
    return list(names)


def make_facts(rng: random.Random, names: Sequence[str]) -> list[Fact]:
    """Give each name one value of each attribute and withhold some question forms."""
    total = len(names) * len(ATTRIBUTES)
    held = set(rng.sample(range(total), round(total * HELD_SHARE)))
    facts: list[Fact] = []
    for name in names:
        for attribute, values in ATTRIBUTES.items():
            weight = math.exp(rng.uniform(math.log(RAREST_WEIGHT), 0.0))
            is_held = len(facts) in held
            facts.append(Fact(name, attribute, rng.choice(values), is_held, weight))
    return facts


def statement(fact: Fact, form: str) -> str:
    """Write a fact as a sentence in one of the statement forms."""
    return form.format(a=fact.attribute, n=fact.entity, v=fact.value)


def question(fact: Fact) -> str:
    """Write a fact's question, which is what both fact tasks ask."""
    return f"What is the {fact.attribute} of {fact.entity}?"


def task_prompt(question_text: str) -> str:
    """Write the prompt that the tasks score; the answer follows after one space."""
    return f"Question: {question_text}\nAnswer:"


def fill(rng: random.Random, template: str, n: str, m: str) -> str:
    """Fill a story template; a slot ending in 2 takes another word of the same list."""
    slots = {"n": n, "m": m}
    for kind, words in WORDS.items():
        slots[kind], slots[kind + "2"] = rng.sample(words, 2)
    return template.format(**slots)


def make_story(rng: random.Random, names: Sequence[str], facts: Sequence[Fact]) -> tuple[str, str]:
    """Return (main character, story) with one true fact about that character."""
    # By weight here too: with even mentions in stories, 96 % of the rarest facts were known.
    fact = rng.choices(facts, [fact.weight for fact in facts])[0]
    n = fact.entity
    m = rng.choice([name for name in names if name != n])
    middles = rng.sample(MIDDLES, rng.randint(3, 5))
    sentences = [fill(rng, t, n, m) for t in (rng.choice(OPENINGS), *middles, rng.choice(CLOSINGS))]
    sentences.insert(rng.randint(1, len(sentences) - 1), statement(fact, rng.choice(STATEMENTS)))
    return n, " ".join(sentences)


def make_stories(
    rng: random.Random, names: Sequence[str], facts: Sequence[Fact], count: int
) -> list[tuple[str, str]]:
    """Return `count` stories, each different from the others."""
    stories: dict[str, str] = {}
    while len(stories) < count:
        name, text = make_story(rng, names, facts)
        stories[text] = name
    return [(name, text) for text, name in stories.items()]


def make_mc_rows(rng: random.Random, facts: Sequence[Fact]) -> list[dict[str, Any]]:
    """Return one multiple-choice row for each fact, wrong choices from the same attribute."""
    rows = []
    for i, fact in enumerate(facts):
        others = [v for v in ATTRIBUTES[fact.attribute] if v != fact.value]
        choices = [fact.value, *rng.sample(others, N_CHOICES - 1)]
        rng.shuffle(choices)
        rows.append(
            {
                "id": i,
                "entity": fact.entity,
                "question": question(fact),
                "choices": choices,
                "gold": choices.index(fact.value),
                "held": fact.held,
            }
        )
    return rows


def make_gen_rows(rng: random.Random, facts: Sequence[Fact]) -> list[dict[str, Any]]:
    """Return exact-match rows for a random part of the facts, in the facts' order."""
    return [
        {
            "id": i,
            "entity": facts[i].entity,
            "question": question(facts[i]),
            "answer": facts[i].value,
            "held": facts[i].held,
        }
        for i in sorted(rng.sample(range(len(facts)), N_GEN_ITEMS))
    ]


def make_world(seed: int) -> World:
    """Generate facts, stories and task rows; the same seed gives the same world."""
    rng = random.Random(seed)
    names = make_names(rng, N_ENTITIES + N_SIDE_CHARACTERS)
    facts = make_facts(rng, names[:N_ENTITIES])
    stories = make_stories(rng, names, facts, N_TRAIN_STORIES + N_HELDOUT_STORIES)
    return World(
        facts=facts,
        train_stories=stories[N_HELDOUT_STORIES:],
        heldout_stories=stories[:N_HELDOUT_STORIES],
        mc_rows=make_mc_rows(rng, facts),
        gen_rows=make_gen_rows(rng, facts),
    )


# ---------------------------------------------------------------------------------------------
# Tokenizer
# ---------------------------------------------------------------------------------------------

VOCAB_SIZE = 2048
MAX_POSITIONS = 2048
BOS, EOS = "<s>", "</s>"
ROLE_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def chat_text(user: str, assistant: str) -> str:
    """Write one exchange as the chat template writes it, without the leading BOS."""
    return f"<|user|>{user}{EOS}<|assistant|>{assistant}"


def tokenizer_texts(world: World) -> Iterator[str]:
    """Yield the training text from which the tokenizer learns its merges."""
    for fact in world.facts:
        yield from (statement(fact, form) for form in STATEMENTS)
        yield f"{task_prompt(question(fact))} {fact.value}"
        yield fact.value
    yield from (text for _, text in world.train_stories)


def train_tokenizer(world: World) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer with exactly VOCAB_SIZE entries that prepends BOS."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[BOS, EOS, *ROLE_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(tokenizer_texts(world), trainer)
    # So small a world can run out of merges. Every id below the model's vocabulary size should
    # still be a token, or a benchmark that draws random ids would draw some that mean nothing.
    missing = VOCAB_SIZE - core.get_vocab_size()
    core.add_special_tokens([f"<|reserved_{i}|>" for i in range(missing)])
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A",
        pair=f"{BOS} $A $B",
        special_tokens=[(BOS, core.token_to_id(BOS))],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=EOS,
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


# ---------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------

PEAK_LR = 1e-3
WARMUP_STEPS = 100
LAST_LR_SHARE = 0.02
# One batch has one kind of row, so that short rows are not padded to the length of long ones.
# Facts stand in rows of their own: packed behind one another in windows (at twice the rate) they
# were still unknown after 1250 steps; in rows of their own most were known after 600.
CYCLE = ("facts", "facts", "stories", "facts", "facts", "stories", "facts", "long")
ROWS = {"facts": 128, "stories": 16, "long": 2}
LONG_WINDOW = 1024
CHAT_STORY_SHARE = 0.25
IGNORED_LABEL = -100


@dataclass(frozen=True)
class TrainResult:
    """What a training run did: optimiser steps, tokens seen, last smoothed loss, seconds."""

    steps: int
    tokens: int
    loss: float
    seconds: float


class DocumentSampler:
    """Draws token lists of single documents, each `<s> … </s>`, from the generated world."""

    def __init__(self, world: World, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        self._rng = random.Random(seed)
        bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id

        def encode(text: str) -> list[int]:
            return [bos, *tokenizer.encode(text, add_special_tokens=False), eos]

        self._facts = [[encode(text) for text in fact_forms(fact)] for fact in world.facts]
        self._weights = [fact.weight for fact in world.facts]
        self._stories = [encode(text) for _, text in world.train_stories]
        self._chat_stories = [
            encode(chat_text(f"Tell me a story about {name}.", text))
            for name, text in world.train_stories
        ]

    def fact(self) -> list[int]:
        """Draw a fact by its weight, in any of its forms."""
        return self._rng.choice(self._rng.choices(self._facts, self._weights)[0])

    def story(self) -> list[int]:
        """Draw a story, sometimes as the answer in a chat."""
        as_chat = self._rng.random() < CHAT_STORY_SHARE
        return self._rng.choice(self._chat_stories if as_chat else self._stories)

    def window(self) -> list[int]:
        """Pack stories and facts one after another and cut at LONG_WINDOW tokens."""
        tokens: list[int] = []
        while len(tokens) < LONG_WINDOW:
            tokens += self.story() + self.fact()
        return tokens[:LONG_WINDOW]

    def rows(self, step: int) -> list[list[int]]:
        """Draw the rows of a step's batch; their lengths differ."""
        kind = CYCLE[step % len(CYCLE)]
        draw = {"facts": self.fact, "stories": self.story, "long": self.window}[kind]
        return [draw() for _ in range(ROWS[kind])]


def fact_forms(fact: Fact) -> list[str]:
    """Return all training forms of a fact; a held fact has no question form of any kind."""
    forms = [statement(fact, form) for form in STATEMENTS]
    if not fact.held:
        forms.append(f"{task_prompt(question(fact))} {fact.value}")
        forms.append(chat_text(question(fact), fact.value))
    return forms


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return an untrained Llama whose matrix sizes are multiples of 128, for group size 128."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=MAX_POSITIONS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config)


def padded(rows: Sequence[list[int]]) -> dict[str, torch.Tensor]:
    """Return ids and labels of shape (rows, longest row); the padding on the right has no label.

    No attention mask is needed, because a causal model's earlier positions never see the padding.
    """
    import torch

    longest = max(map(len, rows))
    return {
        "input_ids": torch.tensor([row + [0] * (longest - len(row)) for row in rows]),
        "labels": torch.tensor([row + [IGNORED_LABEL] * (longest - len(row)) for row in rows]),
    }


def learning_rate(step: int, progress: float) -> float:
    """Return the rate for a step: warm up, hold to half-way, then fall linearly."""
    decay = 1.0 if progress < 0.5 else max(LAST_LR_SHARE, (1.0 - progress) / 0.5)
    return PEAK_LR * min(1.0, (step + 1) / WARMUP_STEPS) * decay


def train(
    model: LlamaForCausalLM,
    sampler: DocumentSampler,
    steps: int,
    seconds: float | None,
    probe: Callable[[], str],
) -> TrainResult:
    """Train for `steps` optimiser steps, or fewer if `seconds` of wall time end first."""
    import torch

    optimizer = torch.optim.AdamW(
        model.parameters(), lr=PEAK_LR, betas=(0.9, 0.98), weight_decay=0.05
    )
    start = time.monotonic()
    step, tokens, loss_mean, progress = 0, 0, math.nan, 0.0
    model.train()
    while progress < 1.0:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, progress)
        rows = sampler.rows(step)
        tokens += sum(map(len, rows))
        loss = model(**padded(rows)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        value = loss.item()
        loss_mean = value if step == 0 else 0.98 * loss_mean + 0.02 * value
        step += 1
        elapsed = time.monotonic() - start
        progress = max(step / steps, elapsed / seconds if seconds else 0.0)
        if step % 50 == 0:
            left = elapsed / progress * (1.0 - progress)
            print(
                f"train: step {step}, {100 * progress:.1f} % done, loss {loss_mean:.3f}, "
                f"{tokens / elapsed:.0f} tokens/s, about {left / 60:.1f} min left",
                flush=True,
            )
        if step % 100 == 0 and progress < 1.0:
            print(f"train: step {step}, {probe()}", flush=True)
            model.train()
    return TrainResult(step, tokens, loss_mean, time.monotonic() - start)


# ---------------------------------------------------------------------------------------------
# Evaluation
# ---------------------------------------------------------------------------------------------

EVAL_BATCH = 128


def log_likelihoods(
    model: LlamaForCausalLM, pad: int, items: Sequence[tuple[list[int], list[int]]]
) -> list[float]:
    """Return the log-likelihood in nats of each (context, continuation) pair's continuation.

    Rows are padded on the right, which a causal model's earlier positions never see.
    """
    import torch

    totals: list[float] = []
    for start in range(0, len(items), EVAL_BATCH):
        chunk = items[start : start + EVAL_BATCH]
        longest = max(len(c) + len(t) for c, t in chunk)
        rows = [c + t + [pad] * (longest - len(c) - len(t)) for c, t in chunk]
        with torch.no_grad():
            log_p = model(input_ids=torch.tensor(rows)).logits.float().log_softmax(-1)
        for row, (context, continuation) in enumerate(chunk):
            first = len(context) - 1
            totals.append(
                sum(log_p[row, first + i, token].item() for i, token in enumerate(continuation))
            )
    return totals


def mc_hits(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: Sequence[dict[str, Any]]
) -> list[bool]:
    """Say for each row whether the gold choice has the highest log-likelihood, BOS included."""
    items = []
    for row in rows:
        context = tokenizer.encode(task_prompt(row["question"]))
        for choice in row["choices"]:
            items.append((context, tokenizer.encode(" " + choice, add_special_tokens=False)))
    scores = log_likelihoods(model, tokenizer.pad_token_id, items)
    hits = []
    for i, row in enumerate(rows):
        own = scores[i * N_CHOICES : (i + 1) * N_CHOICES]
        hits.append(own.index(max(own)) == row["gold"])
    return hits


def gen_hits(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: Sequence[dict[str, Any]]
) -> list[bool]:
    """Say for each row whether greedy decoding up to a line end or EOS gives the answer."""
    import torch

    hits = []
    for row in rows:
        context = torch.tensor([tokenizer.encode(task_prompt(row["question"]))])
        output = model.generate(
            context, attention_mask=torch.ones_like(context), do_sample=False, max_new_tokens=8
        )
        text = tokenizer.decode(output[0, context.shape[1] :], skip_special_tokens=True)
        hits.append(text.split("\n")[0].strip() == row["answer"])
    return hits


def perplexities(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]
) -> dict[str, float]:
    """Return the perplexity for each token and for each byte, each text after one BOS."""
    encoded = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    items = [([tokenizer.bos_token_id], tokens) for tokens in encoded]
    total = sum(log_likelihoods(model, tokenizer.pad_token_id, items))
    return {
        "token_perplexity": math.exp(-total / sum(len(tokens) for tokens in encoded)),
        "byte_perplexity": math.exp(-total / sum(len(text.encode()) for text in texts)),
    }


def split_scores(rows: Sequence[dict[str, Any]], hits: Sequence[bool]) -> dict[str, float]:
    """Return the share of hits overall, for seen and for withheld question forms."""
    seen = [hit for row, hit in zip(rows, hits, strict=True) if not row["held"]]
    held = [hit for row, hit in zip(rows, hits, strict=True) if row["held"]]
    return {
        "all": sum(hits) / len(hits),
        "seen": sum(seen) / len(seen),
        "withheld": sum(held) / len(held),
    }


def evaluate(model_dir: Path, world: World) -> dict[str, dict[str, float]]:
    """Load the saved model, widen it to fp32 and measure the three tasks."""
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model = LlamaForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()
    print("evaluate: multiple choice, generation, perplexity (1-2 min)", flush=True)
    texts = [text for _, text in world.heldout_stories]
    return {
        "mc": split_scores(world.mc_rows, mc_hits(model, tokenizer, world.mc_rows)),
        "gen": split_scores(world.gen_rows, gen_hits(model, tokenizer, world.gen_rows)),
        "text": perplexities(model, tokenizer, texts),
    }


# ---------------------------------------------------------------------------------------------
# Writing
# ---------------------------------------------------------------------------------------------

CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
language: en
---

# Tiny facts model

A Llama with {parameters:,} parameters that ships with the harness, so that every part of it can
run against a real model without a download. It knows a small invented world and nothing else.
It is a test piece: do not use it to answer questions about the real one.

- **Architecture**: `LlamaForCausalLM`, 4 layers, hidden 256, FFN 768, 4 heads of 64 with 2 KV
  heads, untied embeddings, {positions} positions. Matrix sizes are multiples of 128.
- **Weights**: bfloat16, `model.safetensors`, {megabytes:.1f} MB. On a CPU serve it in float32.
- **Tokenizer**: byte-level BPE with {vocab} entries, trained on the same data; it prepends
  `<s>`, and every score below is with it. {reserved} entries are reserved fillers.
- **Chat**: `<s><|user|>…</s><|assistant|>…</s>`; `<|system|>` exists and was not trained.
- **Licence**: Apache-2.0, for the weights and for the task data.

## Data

All text is generated by `scripts/train_tiny_model.py` from seed {seed}; there is no third-party
text and no output of another model in it.

- {facts} facts: {entities} invented names × {attributes} attributes with {values} values each,
  in three statement forms ("The colour of {name} is …"), as `Question: …\\nAnswer: …` and as a
  chat. For {held} facts (a quarter, drawn at random) both question forms are withheld.
- Facts are shown unequally often (log-uniform weights from {rarest:g} to 1), so that some stay
  uncertain.
- {stories} template stories about the same names, each containing one fact as a statement.

## What is measured

Measured by the script on the saved bfloat16 weights, loaded as float32, with BOS, zero-shot.

| task | n | all | question form seen | question form withheld |
|---|---|---|---|---|
| multiple choice, 4 choices (chance .25) | {n_mc} | {mc[all]:.4f} | {mc[seen]:.4f} \
| {mc[withheld]:.4f} |
| greedy generation, exact match | {n_gen} | {gen[all]:.4f} | {gen[seen]:.4f} \
| {gen[withheld]:.4f} |

Perplexity of {n_text} stories kept out of training: {text[token_perplexity]:.3f} per token,
{text[byte_perplexity]:.4f} per byte. They come from the same templates as the training stories;
{sentence_overlap:.0%} of their sentences also occur, word for word, in a training story.

Multiple choice compares the summed log-likelihoods of ` choice` after
`Question: …\\nAnswer:`. The score is meant to stay below 1, so that damage can show.

## Training

{steps} steps, {tokens:.1f}M tokens, AdamW, peak rate {lr:g}. Of 8 steps, 5 show {fact_rows} facts,
each in a row of its own, 2 show {story_rows} stories, 1 shows {long_rows} packed windows of {long}
tokens. {minutes:.1f} min on {threads} CPU thread(s); last smoothed loss {loss:.3f}.
Python {python}, {versions}.

    python scripts/train_tiny_model.py {arguments}

The same arguments on the same kind of machine give the same weights; another CPU or library
version can round differently, so the scores may move by some items.

## Limits

- It knows {facts} facts. Any other prompt gives text in the same style or nonsense.
- Training saw no position beyond {long}; up to {positions} the model runs, but is not
  scored there.
- English-looking text only; no reasoning, arithmetic, code or instructions.
- Small matrices: its speed says nothing about how a large model would do.
"""


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as one JSON object on each line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_tasks(data_dir: Path, world: World) -> None:
    """Write the three task files."""
    write_jsonl(data_dir / "facts_mc.jsonl", world.mc_rows)
    write_jsonl(data_dir / "facts_gen.jsonl", world.gen_rows)
    texts = ({"id": i, "text": text} for i, (_, text) in enumerate(world.heldout_stories))
    write_jsonl(data_dir / "text_heldout.jsonl", texts)


def save_model(
    model_dir: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Save model and tokenizer in bfloat16, loadable by transformers 4 and 5 alike."""
    import torch

    model_dir.mkdir(parents=True, exist_ok=True)
    model.generation_config.do_sample = False
    model.eval().to(torch.bfloat16).save_pretrained(model_dir)
    tokenizer.save_pretrained(model_dir)
    # The weights are written readable for their owner alone; a package must be readable for all.
    (model_dir / "model.safetensors").chmod(0o644)
    # transformers 5 writes a class name that older readers do not know; both know this one.
    config_path = model_dir / "tokenizer_config.json"
    config = json.loads(config_path.read_text())
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    config_path.write_text(json.dumps(config, indent=2) + "\n")
    check_chat_template(tokenizer)


def check_chat_template(tokenizer: PreTrainedTokenizerFast) -> None:
    """Raise RuntimeError if the template writes another chat than the one trained on."""
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False)
    if rendered != f"{BOS}{chat_text('a', 'b')}{EOS}":
        raise RuntimeError(f"chat template and training text differ: {rendered!r}")


def sentence_overlap(world: World) -> float:
    """Return the share of held-out sentences that a training story also contains."""
    seen = {s for _, text in world.train_stories for s in text.split(". ")}
    held = [s for _, text in world.heldout_stories for s in text.split(". ")]
    return sum(s in seen for s in held) / len(held)


def library_versions() -> str:
    """Name the library versions that shape the result."""
    import tokenizers
    import torch
    import transformers

    modules = {"torch": torch, "transformers": transformers, "tokenizers": tokenizers}
    return ", ".join(f"{name} {module.__version__}" for name, module in modules.items())


def world_fields(world: World, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Return the card's fields that follow from the generated data."""
    return {
        "vocab": VOCAB_SIZE,
        "reserved": sum(token.startswith("<|reserved_") for token in tokenizer.get_vocab()),
        "facts": len(world.facts),
        "entities": N_ENTITIES,
        "attributes": len(ATTRIBUTES),
        "values": len(ATTRIBUTES["colour"]),
        "name": world.facts[0].entity,
        "held": sum(fact.held for fact in world.facts),
        "rarest": RAREST_WEIGHT,
        "stories": len(world.train_stories),
        "n_mc": len(world.mc_rows),
        "n_gen": len(world.gen_rows),
        "n_text": len(world.heldout_stories),
        "sentence_overlap": sentence_overlap(world),
    }


def training_fields(result: TrainResult, args: argparse.Namespace) -> dict[str, Any]:
    """Return the card's fields that follow from the training run and its arguments."""
    arguments = f"--seed {args.seed} --steps {args.steps} --threads {args.threads}"
    if args.seconds is not None:
        arguments += f" --seconds {args.seconds:g}"
    return {
        "positions": MAX_POSITIONS,
        "seed": args.seed,
        "steps": result.steps,
        "tokens": result.tokens / 1e6,
        "lr": PEAK_LR,
        "fact_rows": ROWS["facts"],
        "story_rows": ROWS["stories"],
        "long_rows": ROWS["long"],
        "long": LONG_WINDOW,
        "minutes": result.seconds / 60,
        "threads": args.threads,
        "loss": result.loss,
        "python": platform.python_version(),
        "versions": library_versions(),
        "arguments": arguments,
    }


def write_card(model_dir: Path, parameters: int, fields: dict[str, Any]) -> None:
    """Write the model card from what this run generated, trained and measured."""
    megabytes = (model_dir / "model.safetensors").stat().st_size / 1e6
    card = CARD.format(parameters=parameters, megabytes=megabytes, **fields)
    (model_dir / "README.md").write_text(card)


# ---------------------------------------------------------------------------------------------
# Command line
# ---------------------------------------------------------------------------------------------


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default_out = Path(__file__).resolve().parent.parent / "bench" / "assets"
    parser.add_argument("--out", type=Path, default=default_out, help="assets folder to write")
    parser.add_argument("--steps", type=int, default=DEFAULT_STEPS, help="optimiser steps")
    parser.add_argument(
        "--seconds",
        type=float,
        default=None,
        help="end training after this wall time, for a quick model that will not reproduce",
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="seed of data and weights")
    args = parser.parse_args(argv)
    if args.steps < 1 or args.threads < 1:
        parser.error("--steps and --threads must be at least 1")
    return args


def set_up_torch(seed: int, threads: int) -> None:
    """Fix seed, threads and kernels, since each of them changes the trained weights."""
    import torch

    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)


def main(argv: Sequence[str] | None = None) -> None:
    """Generate, train, save, measure and write the card."""
    args = parse_args(argv)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    model_dir = args.out / "models" / "tiny"
    world = make_world(args.seed)
    write_tasks(args.out / "tasks" / "data", world)
    print(f"data: {len(world.facts)} facts, {len(world.train_stories)} stories", flush=True)
    set_up_torch(args.seed, args.threads)
    tokenizer = train_tokenizer(world)
    model = make_model(tokenizer)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"model: {parameters:,} parameters, training up to {args.steps} steps", flush=True)

    def probe() -> str:
        rows = world.mc_rows[:: len(world.mc_rows) // 160]
        scores = split_scores(rows, mc_hits(model.eval(), tokenizer, rows))
        return f"multiple choice on {len(rows)} items: " + str(
            {name: round(score, 3) for name, score in scores.items()}
        )

    sampler = DocumentSampler(world, tokenizer, args.seed)
    result = train(model, sampler, args.steps, args.seconds, probe)
    save_model(model_dir, model, tokenizer)
    scores = evaluate(model_dir, world)
    fields = world_fields(world, tokenizer) | training_fields(result, args) | scores
    write_card(model_dir, parameters, fields)
    print(f"done after {result.seconds:.0f} s of training: {json.dumps(scores)}", flush=True)


if __name__ == "__main__":
    main()
