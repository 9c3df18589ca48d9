"""lm-eval's own command line, with endpoint backends that prove and record what they do.

Run by `bench.evaluators.lm_eval` as `python -m bench.evaluators.harness run …` in a process of its
own (start-up takes seconds, and a crash of it must not touch the harness). Beyond lm-eval's:

- every text is tokenised as the in-process `hf` backend does it: BOS where the tokenizer adds one,
  never twice; lm-eval's endpoint backends leave it out unless they are told otherwise;
- before the first request of a run a few real items are sent to the server both as token ids and
  as text: other tokens or log-probabilities stop the evaluation (`parity.json`);
- token counts and the reason each generation ended go to `answers.jsonl`.

When whoever started it dies, stdin ends, and so does this process.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests
from lm_eval import utils
from lm_eval.api.registry import register_model
from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI

from bench.evaluators.parity import ITEMS, Item, judge

BATCH = 16
"""Prompts in one request for log-likelihoods."""

PARITY_EXIT = 65
"""Exit status when the server does not see what the in-process backend would."""


class _Recorded:
    """Writes the token counts and the end of every generation to `answers.jsonl`."""

    def parse_generations(self, outputs: Any, **kwargs: Any) -> list[str]:
        """As the backend it is mixed into, after noting usage and finish reason."""
        texts: list[str] = super().parse_generations(outputs=outputs, **kwargs)  # type: ignore[misc]
        bodies = outputs if isinstance(outputs, list) else [outputs]
        position = 0
        with Path(os.environ["BENCH_QUALITY_DIR"], "answers.jsonl").open("a") as file:
            for body in bodies:
                for choice in sorted(body["choices"], key=lambda c: c["index"]):
                    row = _answer(texts[position], choice, body)
                    file.write(json.dumps(row) + "\n")
                    position += 1
        return texts


def _answer(text: str | None, choice: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """One generation: its text's digest, tokens as the server counts them, and why it ended."""
    usage = body.get("usage") or {}
    alone = len(body["choices"]) == 1  # usage covers all choices of a body together
    details = usage.get("completion_tokens_details") or {}
    return {
        "text_sha256": hashlib.sha256((text or "").encode()).hexdigest(),
        "input_tokens": usage.get("prompt_tokens") if alone else None,
        "output_tokens": usage.get("completion_tokens") if alone else None,
        "reasoning_tokens": details.get("reasoning_tokens") if alone else None,
        "finish_reason": choice.get("finish_reason"),
    }


@register_model("bench-completions")
class Completions(_Recorded, LocalCompletionsAPI):  # type: ignore[misc]
    """lm-eval's local-completions; takes log-likelihood and generation tasks."""

    _batch_size: int
    _proven = False

    def tok_encode(
        self,
        string: Any,
        left_truncate_len: int | None = None,
        add_special_tokens: bool | None = None,
        truncation: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Token ids of a text or of several, as the `hf` backend has them."""
        if not isinstance(string, str):
            return [self.tok_encode(text, left_truncate_len) for text in string]
        ids = encode_like_hf(self.tokenizer, string)
        return ids[-left_truncate_len:] if left_truncate_len else ids

    def loglikelihood(self, requests: Sequence[Any], **kwargs: Any) -> Any:
        """Log-likelihoods, once parity has been shown on the first items."""
        self._prove([r.args[0] + r.args[1] for r in requests[:ITEMS]])
        return super().loglikelihood(requests, **kwargs)

    def loglikelihood_rolling(self, requests: Sequence[Any], **kwargs: Any) -> Any:
        """Log-likelihoods of whole texts, once parity has been shown."""
        self._prove([r.args[0] for r in requests[:ITEMS]])
        windows = [self._windows(r.args[0]) for r in requests]
        # All texts at once: lm-eval sends them one after the other.
        pairs = [(None, *window) for text in windows for window in text]
        scored = iter(self._loglikelihood_tokens(pairs))
        return [sum(next(scored)[0] for _ in text) for text in windows]

    def _windows(self, text: str) -> list[tuple[list[int], list[int]]]:
        """(context, tokens to score) of each window, as lm-eval cuts a text."""
        rolling = utils.get_rolling_token_windows(
            token_list=self.tok_encode(text),
            prefix_token=self.prefix_token_id,
            max_seq_len=self.max_length - 1,
            context_len=1,
        )
        return [utils.make_disjoint_window(window) for window in rolling]

    def _loglikelihood_tokens(self, requests: Any, **kwargs: Any) -> list[tuple[float, bool]]:
        """Several prompts per HTTP request: nothing about one of them has to be recorded."""
        single, self._batch_size = self._batch_size, BATCH
        try:
            scored: list[tuple[float, bool]] = super()._loglikelihood_tokens(requests, **kwargs)
        finally:
            self._batch_size = single
        return scored

    def generate_until(self, requests: Sequence[Any], **kwargs: Any) -> Any:
        """Generations, once parity has been shown."""
        self._prove([r.args[0] for r in requests[:ITEMS]])
        return super().generate_until(requests, **kwargs)

    def _prove(self, texts: Sequence[str]) -> None:
        """Stop here unless the server sees a text as the tokens that will be sent for it."""
        if self._proven:
            return
        items = [self._seen(text[: 4 * int(self.max_length)]) for text in texts]
        found = judge(items, bos_token_id=self.tokenizer.bos_token_id)
        Path(os.environ["BENCH_QUALITY_DIR"], "parity.json").write_text(json.dumps(found))
        if found["problem"]:
            print(f"bench: {found['problem']}", file=sys.stderr, flush=True)
            sys.stdout.flush()
            os._exit(PARITY_EXIT)  # lm-eval catches SystemExit of some of its callers
        self._proven = True

    def _seen(self, text: str) -> Item:
        """What the tokenizer makes of `text` and what the server makes of both forms of it."""
        ids = encode_like_hf(self.tokenizer, text)[: int(self.max_length) - 1]
        whole = ids if len(ids) < int(self.max_length) - 1 else None
        return Item(
            token_ids=tuple(ids),
            from_ids=self._logprobs(ids),
            from_text=None if whole is None else self._logprobs(text),
        )

    def _logprobs(self, prompt: str | list[int]) -> tuple[float, ...] | None:
        """Log-probabilities of the prompt's tokens after the first; None where not given."""
        body = {
            "model": self.model,
            "prompt": prompt,
            "max_tokens": 1,
            "temperature": 0,
            "echo": True,
            "logprobs": 1,
        }
        if isinstance(prompt, str) and starts_with_bos(self, prompt):
            body["add_special_tokens"] = False
        reply = requests.post(
            str(self.base_url), json=body, headers=self.header, timeout=self.timeout
        )
        if reply.status_code in (400, 422):
            return None
        reply.raise_for_status()
        given = (reply.json()["choices"][0].get("logprobs") or {}).get("token_logprobs")
        if not given:
            return None
        return tuple(float(v) for v in given[1:-1])


@register_model("bench-chat")
class Chat(_Recorded, LocalChatCompletion):  # type: ignore[misc]
    """lm-eval's local-chat-completions: generation tasks, the server applies its template."""


def encode_like_hf(tokenizer: Any, text: str) -> list[int]:
    """Token ids as lm-eval's `hf` backend has them: the tokenizer's own BOS, never a second one."""
    bos = tokenizer.bos_token
    options = {"add_special_tokens": False} if bos and text.startswith(bos) else {}
    ids: list[int] = tokenizer.encode(text, **options)
    return ids


def starts_with_bos(model: Completions, text: str) -> bool:
    """Whether the text itself carries BOS, as chat templates do."""
    bos = model.tokenizer.bos_token
    return bool(bos) and text.startswith(bos)


def main() -> None:
    """lm-eval's command line in a process that ends with its parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()


def _end_with_parent() -> None:
    while os.read(0, 4096):  # not sys.stdin, whose lock would abort the interpreter at its end
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
