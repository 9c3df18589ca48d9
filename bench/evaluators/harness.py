"""lm-eval's own command line, with endpoint backends that prove and record what they do.

Run by `bench.evaluators.lm_eval` as `python -m bench.evaluators.harness run …` in a process of its
own (start-up takes seconds, and a crash of it must not touch the harness). Beyond lm-eval's:

- every text is tokenised as the in-process `hf` backend does it: BOS where the tokenizer adds one,
  never twice; lm-eval's endpoint backends leave it out unless they are told otherwise;
- before the first request of a run a few real items are sent to the server both as token ids and
  as text: other tokens or log-probabilities stop the evaluation (`parity.json`);
- token counts and the reason each generation ended go to `answers.jsonl`; with BENCH_THINK_END set,
  what a reasoning model thinks up to that tag is counted, kept there, and not scored;
- answers longer than the context stop the evaluation, prompts that were cut for it are counted
  (`cut.jsonl`): lm-eval only warns of either in its log.

When whoever started it dies, stdin ends, and so does this process.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import requests
from lm_eval import utils
from lm_eval.api.registry import register_model
from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI

from bench.evaluators.parity import ITEMS, Item, judge
from bench.values.json_text import json_text

BATCH = 16
"""Prompts in one request for log-likelihoods."""

STOPPED = 65
"""Exit status when the scores would not mean what they seem to; the last line says why."""

_PROMPTS: ContextVar[tuple[str, ...]] = ContextVar("_PROMPTS", default=())
"""Prompts of the request whose answer is being read, in its task alone."""


class _Recorded:
    """Writes the token counts and the end of every generation to `answers.jsonl`."""

    tokenizer: Any

    @property
    def header(self) -> dict[str, str]:
        """The headers of every request: the key, and those of engine.extra_headers."""
        own: dict[str, str] = super().header  # type: ignore[misc]
        if not os.environ.get("OPENAI_API_KEY"):
            own = {}  # lm-eval's would be a key that is empty
        more: dict[str, str] = json.loads(os.environ.get("BENCH_EXTRA_HEADERS", "{}"))
        return own | more

    async def amodel_call(self, *args: Any, cache_keys: Any = None, **kwargs: Any) -> Any:
        """As the backend it is mixed into, the prompts kept for the answers that come."""
        if kwargs.get("generate", True):
            _PROMPTS.set(tuple(_text(key[0]) for key in cache_keys or ()))
        return await super().amodel_call(*args, cache_keys=cache_keys, **kwargs)  # type: ignore[misc]

    def parse_generations(self, outputs: Any, contexts: Any = None, **kwargs: Any) -> list[str]:
        """As the backend it is mixed into, after noting usage and finish reason."""
        texts: list[Any] = super().parse_generations(outputs=outputs, **kwargs)  # type: ignore[misc]
        prompts = _PROMPTS.get() if contexts is None else tuple(map(_text, contexts))
        bodies = outputs if isinstance(outputs, list) else [outputs]
        choices = [
            (choice, body)
            for body in bodies
            for choice in sorted(body["choices"], key=lambda c: c["index"])
        ]
        tag = os.environ.get("BENCH_THINK_END")
        scored: list[str] = []
        rows = []
        for prompt, text, (choice, body) in zip(prompts, texts, choices, strict=True):
            thought, answer = split_thinking(text or "", tag)
            row = answer_row(prompt, answer, choice, body)
            if tag is not None:
                row |= {"thinking": thought, "thinking_ended": bool(thought)}
                if row["reasoning_tokens"] is None and getattr(self, "tokenizer", None):
                    count = len(self.tokenizer.encode(thought, add_special_tokens=False))
                    # Nothing but thinking: an answer never came.
                    whole = row["finish_reason"] == "length" and not thought
                    row["reasoning_tokens"] = row["output_tokens"] if whole else count
            rows.append(row)
            scored.append(answer)
        _append("answers.jsonl", rows)
        return scored


def split_thinking(text: str, tag: str | None) -> tuple[str, str]:
    """(thinking with its closing tag, answer); without the tag everything is the answer."""
    if tag is None or tag not in text:
        return "", text
    thought, _, answer = text.rpartition(tag)
    return thought + tag, answer.lstrip()


def answer_row(
    prompt: str, text: str, choice: dict[str, Any], body: dict[str, Any]
) -> dict[str, Any]:
    """One generation: digests of its prompt and of the text that is scored, tokens as the server
    counts them (thinking included), and why it ended."""
    usage = body.get("usage") or {}
    alone = len(body["choices"]) == 1  # usage covers all choices of a body together
    details = usage.get("completion_tokens_details") or {}
    return {
        "prompt_sha256": hashlib.sha256(prompt.encode()).hexdigest(),
        "text_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "input_tokens": usage.get("prompt_tokens") if alone else None,
        "output_tokens": usage.get("completion_tokens") if alone else None,
        "reasoning_tokens": details.get("reasoning_tokens") if alone else None,
        "finish_reason": choice.get("finish_reason"),
    }


def _text(context: Any) -> str:
    """A prompt as lm-eval digests it: chat messages come wrapped round their JSON."""
    return str(getattr(context, "prompt", context))


def _append(name: str, rows: Sequence[dict[str, Any]]) -> None:
    with Path(os.environ["BENCH_QUALITY_DIR"], name).open("a") as file:
        file.writelines(json_text(row) + "\n" for row in rows)


def stop(problem: str) -> None:
    """End the process with the reason in its last line: lm-eval catches SystemExit here."""
    print(f"bench: {problem}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(STOPPED)


@register_model("bench-completions")
class Completions(_Recorded, LocalCompletionsAPI):  # type: ignore[misc]
    """lm-eval's local-completions; takes log-likelihood and generation tasks."""

    _batch_size: int
    _max_gen_toks: int
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
        self._note_cut([len(r[1]) + len(r[2]) for r in requests], int(self.max_length))
        single, self._batch_size = self._batch_size, BATCH
        try:
            scored: list[tuple[float, bool]] = super()._loglikelihood_tokens(requests, **kwargs)
        finally:
            self._batch_size = single
        return scored

    def generate_until(self, requests: Sequence[Any], **kwargs: Any) -> Any:
        """Generations, once parity has been shown."""
        self._prove([r.args[0] for r in requests[:ITEMS]])
        for request in requests:
            answer = int(request.args[1].get("max_gen_toks", self._max_gen_toks))
            room = int(self.max_length) - answer
            if room < 1:
                stop(
                    f"answers of up to {answer} tokens leave no room for a prompt in a context of "
                    f"{self.max_length}: raise engine.max_model_len or lower max_gen_toks."
                )
            self._note_cut([len(self.tok_encode(request.args[0]))], room)
        return super().generate_until(requests, **kwargs)

    def _note_cut(self, lengths: Sequence[int], room: int) -> None:
        """Count the prompts that lose their beginning because they do not fit."""
        cut = sum(length > room for length in lengths)
        if cut:
            _append("cut.jsonl", [{"prompts": cut, "room_tokens": room}])

    def _prove(self, texts: Sequence[str]) -> None:
        """Stop here unless the server sees a text as the tokens that will be sent for it."""
        if self._proven:
            return
        items = [self._seen(text[: 4 * int(self.max_length)]) for text in texts]
        found = judge(items, bos_token_id=self.tokenizer.bos_token_id)
        Path(os.environ["BENCH_QUALITY_DIR"], "parity.json").write_text(json_text(found))
        if found["problem"]:
            stop(str(found["problem"]))
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
            str(self.base_url),
            json=body,
            headers=self.header,
            timeout=self.timeout,
            verify=self.verify_certificate,
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
