"""Checkpoints on this machine: where they are found, and what their files hash to."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from bench.host.provenance import file_hashes

REPO, REVISION, BLOB = "org/m", "abc123", "f" * 64


def hub_cache(root: Path) -> Path:
    """A cache as huggingface_hub lays it out: snapshots of links to blobs named by their hash."""
    home = root / "models--org--m"
    snapshot = home / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (home / "blobs").mkdir()
    for name, blob in (("config.json", "0" * 40), ("model.safetensors", BLOB)):
        (home / "blobs" / blob).write_text(name)
        (snapshot / name).symlink_to(home / "blobs" / blob)
    return snapshot


def test_a_fetched_checkpoint_is_found_in_the_hub_cache(tmp_path: Path) -> None:
    snapshot = hub_cache(tmp_path)
    code = (
        "from bench.models.checkpoints import in_hub_cache\n"
        f"print(in_hub_cache({REPO!r}, {REVISION!r}), in_hub_cache({REPO!r}, 'other'))"
    )
    env = {**os.environ, "HF_HUB_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.split() == [str(snapshot), "None"], done.stderr


def test_large_files_of_the_cache_are_not_read_again(tmp_path: Path) -> None:
    """A blob's name is its SHA-256; small files are named by git's, so they are hashed here."""
    assert file_hashes(hub_cache(tmp_path)) == {
        "config.json": hashlib.sha256(b"config.json").hexdigest(),
        "model.safetensors": BLOB,
    }


def test_a_folder_of_ones_own_is_hashed(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "sub").mkdir()
    assert file_hashes(tmp_path) == {"f": hashlib.sha256(b"x").hexdigest()}
