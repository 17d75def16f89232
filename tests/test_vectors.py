"""The index on a real disk: what happened to its files is noticed, and a rebuild mends it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rag.errors import StoreError
from rag.records import InUse, Manifest
from store.vectors import ChromaIndex

pytestmark = pytest.mark.slow

MANIFEST = Manifest(InUse("fa1e000000000001", 32), {"query": "Search: "}, "by sentences")
COUNT = 300
IDS = list(range(1, COUNT + 1))


def random_vectors(count: int = COUNT) -> np.ndarray:
    vectors = np.random.default_rng(7).normal(size=(count, 32)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


VECTORS = random_vectors()
EXPECTED = dict(zip(IDS[::10], VECTORS[::10], strict=True))


def silent(done: int, total: int) -> None:
    """Report to nobody."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def index(folder: Path) -> Iterator[ChromaIndex]:
    made = ChromaIndex(folder)
    made.rebuild(MANIFEST, IDS, VECTORS, silent)
    yield made
    made.close()


def generations(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("generation-*")}


def segment(folder: Path) -> Path:
    [data] = folder.glob("generation-*/chroma/*/data_level0.bin")
    return data.parent


def truncate(folder: Path) -> None:
    data = segment(folder) / "data_level0.bin"
    os.truncate(data, data.stat().st_size // 2)


def overwrite(folder: Path) -> None:
    data = segment(folder) / "data_level0.bin"
    data.write_bytes(os.urandom(data.stat().st_size))


def delete_segment(folder: Path) -> None:
    shutil.rmtree(segment(folder))


def delete_collection_data(folder: Path) -> None:
    [database] = folder.glob("generation-*/chroma/chroma.sqlite3")
    database.unlink()


def damage_database(folder: Path) -> None:
    [database] = folder.glob("generation-*/chroma/chroma.sqlite3")
    database.write_bytes(b"This was a database once. " * 1000)


def delete_manifest(folder: Path) -> None:
    [manifest] = folder.glob("generation-*/manifest.json")
    manifest.unlink()


def damage_manifest(folder: Path) -> None:
    [manifest] = folder.glob("generation-*/manifest.json")
    manifest.write_text('{"fingerprint": "fa1e0000', encoding="utf-8")


def delete_pointer(folder: Path) -> None:
    (folder / "current").unlink()


def point_elsewhere(folder: Path) -> None:
    (folder / "current").write_text("../../etc", encoding="utf-8")


def damage_pointer(folder: Path) -> None:
    (folder / "current").write_bytes(b"\xff\xfe\x00")


@pytest.fixture
def synced_index(folder: Path) -> Path:
    """An index large enough for Chroma to have written its own segment files, closed."""
    made = ChromaIndex(folder)
    vectors = random_vectors(1200)
    made.rebuild(MANIFEST, list(range(1, 1201)), vectors, silent)
    made.close()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("damage", [truncate, overwrite, delete_segment])
def test_damage_to_a_segment_is_mended_at_the_second_start_at_the_latest(
    synced_index: Path, run_python: Callable[..., subprocess.CompletedProcess[str]], damage: Callable[[Path], None]
) -> None:
    # Chroma trusts its segments: a broken one may end the process with a fault that no `except` catches
    damage(synced_index)
    started = run_python(START, str(synced_index))
    if started.returncode < 0:
        started = run_python(START, str(synced_index))
    assert started.returncode == 0, f"the index ended the process twice: {started}"
    assert started.stdout == "rebuilt\neach vector found itself\n"
    assert len(generations(synced_index)) == 1
    assert run_python(START, str(synced_index)).stdout == "each vector found itself\n"


START = """
import sys
from pathlib import Path
from store.vectors import ChromaIndex
from tests.test_vectors import MANIFEST, random_vectors, silent
index, vectors, ids = ChromaIndex(Path(sys.argv[1])), random_vectors(1200), range(1, 1201)
if index.open(MANIFEST, dict(zip(ids, vectors[:40]))):
    index.rebuild(MANIFEST, list(ids), vectors, silent)
    print("rebuilt")
if [index.nearest(vector, 1)[0][0] for vector in vectors[:40]] == list(range(1, 41)):
    print("each vector found itself")
"""
"""Opens the index as a start of Footnote does, rebuilds it if need be, and searches it."""


@pytest.mark.parametrize(
    "damage",
    [
        delete_collection_data,
        damage_database,
        delete_manifest,
        damage_manifest,
        delete_pointer,
        point_elsewhere,
        damage_pointer,
    ],
)
def test_damage_to_a_small_index_is_noticed_and_mended(
    index: ChromaIndex, folder: Path, damage: Callable[[Path], None]
) -> None:
    index.close()
    damage(folder)
    assert index.open(MANIFEST, EXPECTED) != ""
    assert index.ids() == set()
    index.rebuild(MANIFEST, IDS, VECTORS, silent)
    assert index.nearest(VECTORS[7], 1)[0][0] == 8
    index.close()
    assert index.open(MANIFEST, EXPECTED) == ""


def halve_rows(folder: Path) -> None:
    os.truncate(rows(folder), rows(folder).stat().st_size // 2)


def overwrite_rows(folder: Path) -> None:
    rows(folder).write_bytes(os.urandom(rows(folder).stat().st_size))


def empty_rows(folder: Path) -> None:
    rows(folder).write_bytes(b"")


def delete_rows(folder: Path) -> None:
    rows(folder).unlink()


def rows(folder: Path) -> Path:
    [path] = folder.glob("generation-*/vectors.f32")
    return path


@pytest.mark.parametrize("damage", [halve_rows, overwrite_rows, empty_rows, delete_rows])
def test_damage_to_the_rows_is_noticed_and_mended(
    index: ChromaIndex, folder: Path, damage: Callable[[Path], None]
) -> None:
    index.close()
    damage(folder)
    assert index.open(MANIFEST, EXPECTED) != ""
    index.rebuild(MANIFEST, IDS, VECTORS, silent)
    assert index.nearest(VECTORS[7], 1, np.array(IDS))[0][0] == 8


@pytest.mark.parametrize("share", [1.0, 0.6, 0.1, 0.01])
def test_a_search_among_many_or_few_is_exact(folder: Path, share: float) -> None:
    chance = np.random.default_rng(11)
    vectors = random_vectors(5000)
    index = ChromaIndex(folder)
    index.rebuild(MANIFEST, [1], VECTORS[:1], silent)
    index.upsert(range(1, 5001), vectors)
    among = np.flatnonzero(chance.random(5000) < share) + 1
    found = index.nearest(vectors[4321], 20, among)
    cosines = vectors[among - 1] @ vectors[4321]
    assert [id_ for id_, _ in found] == among[np.argsort(-cosines)[:20]].tolist()
    assert [cosine for _, cosine in found] == pytest.approx(np.sort(cosines)[::-1][:20].tolist(), abs=1e-5)
    index.close()


def test_a_vector_at_right_angles_is_found_and_one_that_is_not_there_is_not(folder: Path) -> None:
    index = ChromaIndex(folder)
    axes = np.eye(32, dtype=np.float32)
    index.rebuild(MANIFEST, [2, 5], axes[:2], silent)
    assert index.nearest(axes[0], 9, np.arange(1, 9)) == [(2, 1.0), (5, 0.0)]
    index.close()


def test_what_is_deleted_is_overwritten_in_the_rows(index: ChromaIndex, folder: Path) -> None:
    assert VECTORS[7].tobytes() in rows(folder).read_bytes()
    index.delete([8])
    assert VECTORS[7].tobytes() not in rows(folder).read_bytes()
    assert VECTORS[8].tobytes() in rows(folder).read_bytes()


def test_a_sound_index_passes_its_self_test_and_finds_all(index: ChromaIndex, folder: Path) -> None:
    index.close()
    again = ChromaIndex(folder)
    assert again.open(MANIFEST, EXPECTED) == ""
    assert again.ids() == set(IDS)
    assert all(again.nearest(vector, 1)[0][0] == id_ for id_, vector in EXPECTED.items())
    again.close()


def test_every_part_of_the_manifest_counts(index: ChromaIndex) -> None:
    index.close()
    for other in (
        replace(MANIFEST, embedder=InUse("fa1e000000000002", 32)),
        replace(MANIFEST, embedder=InUse(MANIFEST.fingerprint, 64)),
        replace(MANIFEST, prompts={}),
        replace(MANIFEST, splitter="by chapters"),
    ):
        assert index.open(other, {}) != ""
    assert index.open(MANIFEST, {}) == ""


def test_a_rebuild_sweeps_the_generation_before_and_those_a_kill_left(index: ChromaIndex, folder: Path) -> None:
    [before] = generations(folder)
    (folder / "generation-000000000000" / "chroma").mkdir(parents=True)
    (folder / "a note of mine.txt").write_text("keep me", encoding="utf-8")
    index.rebuild(MANIFEST, [1], VECTORS[:1], silent)
    [now] = generations(folder)
    assert now not in (before, "generation-000000000000")
    assert (folder / "current").read_text(encoding="utf-8") == now
    assert (folder / "a note of mine.txt").exists()


@pytest.mark.parametrize("cause", [OSError(28, "No space left on device"), RuntimeError("disk I/O error")])
def test_a_rebuild_that_fails_leaves_the_old_index_in_use(index: ChromaIndex, folder: Path, cause: Exception) -> None:
    def fail(done: int, total: int) -> None:
        raise cause

    before = generations(folder)
    with pytest.raises(StoreError, match=r"could not be written .*reindex`?\.$"):
        index.rebuild(MANIFEST, [1], VECTORS[:1], fail)
    assert index.ids() == set(IDS)
    assert generations(folder) == before
    index.close()
    assert index.open(MANIFEST, EXPECTED) == ""
    assert index.ids() == set(IDS)


def test_a_rebuild_that_is_killed_leaves_the_old_index_in_use(index: ChromaIndex, folder: Path) -> None:
    def kill(done: int, total: int) -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        index.rebuild(MANIFEST, [1], VECTORS[:1], kill)
    index.close()
    assert index.open(MANIFEST, EXPECTED) == ""
    assert index.ids() == set(IDS)
    index.rebuild(MANIFEST, IDS, VECTORS, silent)
    assert len(generations(folder)) == 1


def test_the_pointer_is_swapped_only_when_the_new_index_is_whole(index: ChromaIndex, folder: Path) -> None:
    pointer = folder / "current"
    before = pointer.read_text(encoding="utf-8")
    seen: list[str] = []
    index.rebuild(MANIFEST, IDS, VECTORS, lambda done, total: seen.append(pointer.read_text(encoding="utf-8")))
    assert set(seen) == {before}
    assert pointer.read_text(encoding="utf-8") != before


def test_two_spellings_of_the_folder_are_one_folder(index: ChromaIndex, folder: Path, tmp_path: Path) -> None:
    index.close()
    (tmp_path / "link").symlink_to(folder)
    other = ChromaIndex(tmp_path / "link" / ".." / "index")
    assert other.open(MANIFEST, EXPECTED) == ""
    other.upsert([9001], VECTORS[:1])
    other.close()
    assert index.open(MANIFEST, EXPECTED) == ""
    assert 9001 in index.ids()


def test_more_vectors_than_chroma_takes_in_one_call(folder: Path) -> None:
    index = ChromaIndex(folder)
    index.rebuild(MANIFEST, [1], VECTORS[:1], silent)
    vectors = random_vectors(1001)
    index.upsert(range(1, 1002), vectors)
    assert len(index.ids()) == 1001
    assert index.nearest(vectors[1000], 1)[0][0] == 1001
    index.delete(range(1, 1001))
    assert index.ids() == {1001}
    index.close()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "index").write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(StoreError, match=r"\.$"):
        ChromaIndex(tmp_path / "index").rebuild(MANIFEST, [1], VECTORS[:1], silent)
