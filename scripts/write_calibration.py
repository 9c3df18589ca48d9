"""Write the bundled calibration set: training stories of the tiny model's world, none held out.

    python scripts/write_calibration.py bench/assets/calibration/stories.jsonl

Questions are left out: the bundled tasks ask them, and a checkpoint calibrated on its own
examination would look better than it is.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from asked_help import answer_help
from train_tiny_model import DEFAULT_SEED, make_world, write_jsonl

TEXTS = 128
STORIES_PER_TEXT = 3
SEED = 1


def main() -> None:
    """Draw the stories and write one JSON object {"text": …} per line."""
    stories = [text for _, text in make_world(DEFAULT_SEED).train_stories]
    drawn = random.Random(SEED).sample(stories, TEXTS * STORIES_PER_TEXT)
    rows = [
        {"text": "\n".join(drawn[i : i + STORIES_PER_TEXT])}
        for i in range(0, len(drawn), STORIES_PER_TEXT)
    ]
    write_jsonl(Path(sys.argv[1]), rows)


if __name__ == "__main__":
    answer_help(__doc__)
    main()
