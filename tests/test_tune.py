"""Tuning: a small real model is trained in a process of its own, stopped, killed, starved and damaged."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from models import checkpoints, training, tune
from models.batches import Batches, same_passages
from models.checkpoints import last_whole, vouch
from models.embedder import SentenceTransformerEmbedder
from models.training import MODEL, run_of, widths
from models.tune import fitted, train
from models.workshop import SentenceTransformerWorkshop
from rag.errors import Busy, ModelError
from rag.records import Pace, Pair, Recipe, Step
from tests.house import ROOT

trains = pytest.mark.skipif(
    find_spec("accelerate") is None or find_spec("datasets") is None,
    reason="Training needs accelerate and datasets, which are not installed.",
)

SUBJECTS = "starter flatbread bicycle oven rye chain brakes winter flour yeast garden soup kettle ladder piano candle"
WORDS = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] query : how is the a every morning with and what does need to be where ? . "
    + SUBJECTS
).split()
BREAD = Recipe(epochs=2, batch=8, learning_rate=1e-3, dims=(16, 8))


def made_model(folder: Path, **config: Any) -> Path:
    """Make a small sentence-transformers model with random weights, 16 wide."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizer

    torch.manual_seed(7)
    plain = folder / "plain"
    plain.mkdir(parents=True)
    (plain / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    BertTokenizer(str(plain / "vocab.txt")).save_pretrained(plain)
    shape: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(WORDS), intermediate_size=32, **shape)).save_pretrained(plain)
    words = Transformer(str(plain), max_seq_length=64)
    model = SentenceTransformer(modules=[words, Pooling(16), Normalize()], device="cpu", **config)
    model.save_pretrained(str(folder / "tiny"), create_model_card=False)
    return folder / "tiny"


def made_pairs(count: int = 24) -> list[Pair]:
    """Make questions about a few passages each, some with a passage that looks alike."""
    chance = random.Random(7)
    subjects = SUBJECTS.split()
    passages = [" ".join(chance.choices(subjects, k=12)) + f" . the {subject} ." for subject in subjects]
    return [
        Pair(
            f"how is the {subjects[at % 16]} with {chance.choice(subjects)} ?",
            passages[at % 16],
            "file",
            negatives=(passages[(at + 5) % 16],) if at % 3 == 0 else (),
        )
        for at in range(count)
    ]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_model(tmp_path_factory.mktemp("tuned"))


def steps_of(base: Path, folder: Path, recipe: Recipe = BREAD, pairs: list[Pair] | None = None) -> list[Step]:
    """Train in a process of its own."""
    return list(train(base, made_pairs() if pairs is None else pairs, recipe, folder, Event()))


def trained_here(
    base: Path, folder: Path, recipe: Recipe = BREAD, heard: Callable[[Step], None] = lambda _: None
) -> list[Step]:
    """Train in this process, as that other one does."""
    steps: list[Step] = []

    def say(answer: Any) -> None:
        steps.append(Step(**answer["step"]))
        heard(steps[-1])

    training._train(base, made_pairs(), recipe, recipe.batch, folder, say)
    return steps


def hash_of(folder: Path) -> str:
    return hashlib.sha256((folder / MODEL / "model.safetensors").read_bytes()).hexdigest()


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def tuned(base: Path, home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Step]]:
    """A finished training that nothing disturbed, by a person with an empty home."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CPU_CORES", "1")
        for name in ("HOME", "TMPDIR"):
            patch.setenv(name, str(home))
        for name in ("HF_HOME", "HF_DATASETS_CACHE", "XDG_CACHE_HOME"):
            patch.delenv(name, raising=False)
        return folder, steps_of(base, folder)


class TestPlan:
    @pytest.mark.parametrize(
        ("width", "cuts"),
        [
            (1024, (768, 512, 256, 128, 64)),
            (768, (768, 512, 256, 128, 64)),
            (384, (384, 256, 128, 64)),
            (100, (100, 64)),
            (16, (16,)),
        ],
    )
    def test_the_widths_follow_the_model(self, width: int, cuts: tuple[int, ...]) -> None:
        assert widths(width) == cuts

    def test_widths_that_a_person_wants_are_put_in_order_or_refused(self) -> None:
        assert widths(384, (64, 300, 64)) == (300, 64)
        for wrong in ((512,), (0,), (64, -1)):
            with pytest.raises(ModelError, match=r"384 numbers; they cannot be cut to .*Give --dims from 1 to 384"):
                widths(384, wrong)

    def test_a_passage_without_a_sentence_is_still_that_passage(self) -> None:
        whole = "Feed the starter every morning with rye and water. It smells of apples when it is well. Keep it warm."
        part = "Feed the starter every morning with rye and water. Keep it warm."
        other = "Salt eats the chain of a bicycle in winter, so wipe it after every ride and oil it on Sundays."
        assert same_passages([whole, other, part, whole.upper(), other]) == [0, 1, 0, 0, 1]
        assert same_passages(["bread", "Bread", "", "rye"]) == [0, 0, 1, 2]

    def test_each_pair_is_in_each_epoch_once_and_no_passage_twice_in_a_batch(self) -> None:
        keys = [{f"? {at}", str(at % 9), str((at + 4) % 9)} for at in range(40)]
        batches = Batches(keys, replace(BREAD, batch=4))
        seen = []
        for epoch in range(2):
            batches.set_epoch(epoch)
            dealt = list(batches)
            seen.append(dealt)
            assert len(dealt) == len(batches)
            for batch in dealt:
                held = [key for at in batch for key in keys[at]]
                assert 1 <= len(batch) <= 4
                assert len(held) == len(set(held))
        assert seen[0] != seen[1]
        assert list(Batches(keys, replace(BREAD, batch=4))) == seen[0]
        plain = Batches([{str(at % 9)} for at in range(40)], BREAD)
        assert sorted(at for batch in plain for at in batch) == list(range(40))
        assert {len(batch) for batch in plain} == {8}

    def test_a_passage_with_nearly_all_questions_makes_no_batches_of_one(self) -> None:
        batches = list(Batches([{str(max(0, at - 90))} for at in range(100)], BREAD))
        assert len(batches) == 13
        assert min(map(len, batches)) > 1 or sum(len(batch) == 1 for batch in batches) <= 4

    def test_a_training_is_fitted_into_a_budget(self) -> None:
        pairs, cost = made_pairs(100), Pace(start=10, pair=0.5, epoch=2)
        assert cost.seconds(100, 3) == 166
        assert fitted(BREAD, pairs, cost, 200) == (BREAD, tuple(pairs))
        assert fitted(BREAD, pairs, cost, 62) == (replace(BREAD, epochs=1), tuple(pairs))
        recipe, fewer = fitted(BREAD, pairs, cost, 40)
        assert (recipe.epochs, len(fewer)) == (1, 56)
        assert set(fewer) <= set(pairs)
        with pytest.raises(ModelError, match=r"at least 1 minutes here\. Give it --minutes 1 or more"):
            fitted(BREAD, pairs, cost, 13)


class TestRefused:
    @pytest.mark.parametrize(
        ("changed", "sentence"),
        [
            ({"epochs": 0}, "--epochs 0 cannot be used"),
            ({"batch": 1}, "--batch 1 cannot be used"),
            ({"learning_rate": float("nan")}, "--lr nan cannot be used"),
            ({"learning_rate": -1.0}, "--lr -1.0 cannot be used"),
            ({"seed": -1}, "--seed -1 cannot be used"),
        ],
    )
    def test_a_recipe_that_cannot_be(self, tmp_path: Path, changed: dict[str, Any], sentence: str) -> None:
        (tmp_path / "modules.json").touch()
        with pytest.raises(ModelError, match=sentence):
            steps_of(tmp_path, tmp_path / "run", replace(BREAD, **changed))
        assert not (tmp_path / "run").exists()

    def test_a_model_that_is_not_there_or_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"is not there\. Give the folder"):
            steps_of(tmp_path / "none", tmp_path / "run")
        with pytest.raises(ModelError, match=r"no modules\.json\. Choose another"):
            steps_of(tmp_path, tmp_path / "run")
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("pairs", [[], [Pair("How?", "Feed it.", "file"), Pair("When?", "Feed it.", "text")]])
    def test_too_few_passages(self, tmp_path: Path, pairs: list[Pair]) -> None:
        (tmp_path / "modules.json").touch()
        with pytest.raises(ModelError, match="two passages at least"):
            next(train(tmp_path, pairs, BREAD, tmp_path / "run", Event()))

    @trains
    @pytest.mark.slow
    def test_what_only_the_training_can_see_is_a_sentence_too(self, base: Path, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="16 numbers; they cannot be cut to 32"):
            trained_here(base, tmp_path / "run", replace(BREAD, dims=(32, 16)))
        broken = Path(shutil.copytree(base, tmp_path / "broken"))
        (broken / "model.safetensors").write_bytes(b"no weights")
        with pytest.raises(ModelError, match=r"The model broken cannot be loaded .*with --base\.$"):
            trained_here(broken, tmp_path / "run")
        with pytest.raises(ModelError, match=r"its loss is no number any more\. Start again with a smaller --lr"):
            trained_here(base, tmp_path / "run", replace(BREAD, learning_rate=1e30))
        assert not (tmp_path / "run" / MODEL).exists()
        with pytest.raises(ModelError, match="no finished model"):
            run_of(tmp_path / "run")


@trains
@pytest.mark.slow
class TestTraining:
    def test_it_ends_with_a_model_that_the_app_can_use_and_nothing_else(
        self, base: Path, home: Path, tuned: tuple[Path, list[Step]]
    ) -> None:
        folder, steps = tuned
        assert [step.done for step in steps] == list(range(1, steps[-1].total + 1))
        assert steps[-1].epoch == 2
        assert steps[-1].seconds_left == 0
        assert all(step.loss is not None and step.loss > 0 for step in steps)
        assert all(step.seconds_left is not None for step in steps)
        assert {path.name for path in folder.iterdir()} == {MODEL, "run.json", "lock"}
        assert "README.md" not in {path.name for path in (folder / MODEL).iterdir()}
        assert list(home.iterdir()) == []
        before, after = SentenceTransformerEmbedder(str(base)), SentenceTransformerEmbedder(str(folder / MODEL))
        assert after.dimension == 16
        assert after.fingerprint != before.fingerprint
        run = run_of(folder)
        assert (run.pairs, run.passages, run.negatives, run.batch, run.dims) == (24, 16, 8, 8, (16, 8))
        assert run.steps == steps[-1].done
        [known] = trained_here(base, folder)  # it is finished: nothing to do
        assert (known.done, known.seconds_left) == (steps[-1].done, 0)

    def test_twice_the_same_is_the_same(self, base: Path, tmp_path: Path) -> None:
        first, second = trained_here(base, tmp_path / "first"), trained_here(base, tmp_path / "second")
        assert [step.loss for step in first] == [step.loss for step in second]
        assert hash_of(tmp_path / "first") == hash_of(tmp_path / "second")
        trained_here(base, tmp_path / "third", replace(BREAD, seed=8))
        assert hash_of(tmp_path / "third") != hash_of(tmp_path / "first")

    def test_one_that_was_killed_goes_on_after_its_last_epoch_to_the_same_end(self, base: Path, tmp_path: Path) -> None:
        steps = trained_here(base, tmp_path / "whole")
        half = steps[-1].total // 2

        def die(step: Step) -> None:
            if step.done > half:
                raise Killed

        with pytest.raises(Killed):
            trained_here(base, tmp_path / "cut", heard=die)
        assert not (tmp_path / "cut" / MODEL).exists()
        rest = trained_here(base, tmp_path / "cut")
        assert [(step.done, step.loss) for step in rest] == [(step.done, step.loss) for step in steps[half:]]
        assert hash_of(tmp_path / "cut") == hash_of(tmp_path / "whole")

    def test_where_half_is_taken_each_weight_ends_half_way(self, base: Path, tmp_path: Path) -> None:
        trained_here(base, tmp_path / "whole")
        trained_here(base, tmp_path / "half", replace(BREAD, taken=0.5))
        before, learned, half = (
            load_file(folder / "model.safetensors")
            for folder in (base, tmp_path / "whole" / MODEL, tmp_path / "half" / MODEL)
        )
        assert any(not np.allclose(before[name], learned[name]) for name in before)
        for name in before:
            assert np.allclose(half[name], (before[name] + learned[name]) / 2, atol=1e-6)

    def test_another_recipe_begins_anew_and_the_former_model_goes(self, base: Path, tmp_path: Path) -> None:
        trained_here(base, tmp_path)

        def die(step: Step) -> None:
            assert step.done == 1
            raise Killed

        with pytest.raises(Killed):
            trained_here(base, tmp_path, replace(BREAD, seed=8), die)
        assert not (tmp_path / MODEL).exists()

    def test_two_at_once_in_one_folder(self, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from filelock import FileLock

        monkeypatch.setattr(checkpoints, "_PATIENCE", 0.2)
        with FileLock(str(tmp_path / "lock")), pytest.raises(Busy, match="Another tuning is running"):
            trained_here(base, tmp_path)

    def test_a_large_batch_is_trained_with_cached_gradients(
        self, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(training, "_CACHED_FROM", 8)
        monkeypatch.setattr(training, "_CACHED_PART", 4)
        cached = trained_here(base, tmp_path)
        assert run_of(tmp_path).cached
        assert cached[-1].loss is not None

    def test_a_trial_says_how_long_it_will_take_whatever_characters_there_are(self, base: Path) -> None:
        pairs = [*made_pairs(), Pair("how is \ud83e ?", "half a loaf \ud83e .", "asked")]
        said: list[Any] = []
        job = {"task": "pace", "base": str(base), "batch": 8, "recipe": asdict(BREAD)}
        training._work({**job, "pairs": [asdict(pair) for pair in pairs]}, said.append)
        cost = Pace(**said[-1]["pace"])
        assert 0 < cost.pair < 1
        assert 0 < cost.epoch < 1
        assert cost.seconds(24, 2) < 60

    def test_questions_are_read_with_their_prompt_and_passages_with_theirs(self, tmp_path: Path) -> None:
        base = made_model(tmp_path, prompts={"query": "query : ", "document": ""})
        trainer = training._Training(base, made_pairs(), BREAD, tmp_path / "checkpoints")._trainer(print, 0, print)
        assert trainer.args.prompts == {"question": "query : "}
        batch = next(iter(trainer.get_train_dataloader()))
        assert (batch["question_input_ids"][:, 1] == WORDS.index("query")).all()
        assert not (batch["passage_input_ids"][:, 1] == WORDS.index("query")).any()
        assert "negative_1_input_ids" in batch


LIMITED = """
import resource, signal, sys
from pathlib import Path
from models import training, tune
from tests.test_tune import BREAD, made_pairs
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    training._train(Path(sys.argv[1]), made_pairs(), BREAD, 8, Path(sys.argv[2]), lambda _: None)
except Exception as error:
    print("disk", training._of_disk(error), training._of_memory(error), repr(error))
"""
"""Trains where no file may be larger than 20 kB: as near to a full disk as a test comes."""


@trains
@pytest.mark.slow
def test_a_full_disk_is_known_for_what_it_is(base: Path, tmp_path: Path, run_python: Callable[..., Any]) -> None:
    ran = run_python(LIMITED, str(base), str(tmp_path / "run"))
    assert ran.stdout.startswith("disk True False"), ran.stdout + ran.stderr
    assert not (tmp_path / "run" / MODEL).exists()


FAKE = """
import json, os, signal, sys, time
job = json.loads(sys.stdin.readline())
def say(**answer):
    print(json.dumps(answer), flush=True)
def step(done):
    say(step=dict(done=done, total=9, epoch=done / 9, loss=1.0, seconds_left=9.0 - done))
"""
"""Stands for the process that trains: what it was told is in `job`."""


class TestAsking:
    """What the one who asks makes of what the process says; a small one speaks for it."""

    @pytest.fixture
    def scripted(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Iterator[Step]]:
        (tmp_path / "modules.json").touch()

        def run(script: str, stop: Event | None = None) -> Iterator[Step]:
            monkeypatch.setattr(tune, "_COMMAND", (sys.executable, "-c", FAKE + script))
            return train(tmp_path, made_pairs(), BREAD, tmp_path / "run", stop or Event())

        return run

    def test_steps_arrive_as_they_are_said(self, scripted: Callable[..., Iterator[Step]]) -> None:
        steps = list(scripted("step(1); step(2); say(done=True); time.sleep(60)"))
        assert steps == [Step(1, 9, 1 / 9, 1.0, 8.0), Step(2, 9, 2 / 9, 1.0, 7.0)]

    def test_where_memory_does_not_suffice_the_batch_is_halved(self, scripted: Callable[..., Iterator[Step]]) -> None:
        steps = list(scripted("say(memory=True) if job['batch'] > 2 else (step(job['batch']), say(done=True))"))
        assert [step.done for step in steps] == [2]
        with pytest.raises(ModelError, match=r"not enough memory .*Close other programs"):
            list(scripted("say(memory=True)"))

    def test_a_process_that_the_system_ended_for_want_of_memory(
        self, scripted: Callable[..., Iterator[Step]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counts = iter(range(100))
        monkeypatch.setattr(tune, "_memory_kills", lambda: next(counts))
        script = "os.kill(os.getpid(), signal.SIGKILL) if job['batch'] > 4 else say(done=True)"
        assert list(scripted(script)) == []

    @pytest.mark.slow
    def test_a_trial_that_is_stopped_is_not_waited_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "modules.json").touch()
        monkeypatch.setattr(tune, "_COMMAND", (sys.executable, "-c", FAKE + "time.sleep(600)"))
        stop = Event()
        threading.Timer(0.5, stop.set).start()
        assert tune.pace(tmp_path, made_pairs(), BREAD, stop) is None

    def test_a_process_that_someone_killed(self, scripted: Callable[..., Iterator[Step]]) -> None:
        steps = scripted("step(1); os.kill(os.getpid(), signal.SIGKILL)")
        assert next(steps).done == 1
        with pytest.raises(ModelError, match=r"ended from outside \(SIGKILL\)\. Start it again: it goes on"):
            next(steps)
        with pytest.raises(ModelError, match=r"ended from outside \(exit code 3\)"):
            list(scripted("sys.exit(3)"))

    def test_its_sentences_are_raised(self, scripted: Callable[..., Iterator[Step]]) -> None:
        with pytest.raises(ModelError, match="The disk is full"):
            list(scripted("say(error='The disk is full.')"))
        with pytest.raises(Busy, match="Another"):
            list(scripted("say(error='Another tuning is running.', busy=True)"))

    @pytest.mark.parametrize("how", ["stop", "close"])
    def test_it_is_stopped_within_a_moment(
        self, scripted: Callable[..., Iterator[Step]], tmp_path: Path, how: str
    ) -> None:
        stop = Event()
        steps: Any = scripted("step(os.getpid()); time.sleep(60)", stop)
        process = next(steps).done
        began = time.monotonic()
        if how == "stop":
            stop.set()
            assert list(steps) == []
        else:
            steps.close()
        assert time.monotonic() - began < 3
        assert gone(process)
        assert not (tmp_path / "run" / MODEL).exists()


ALIVE = """
import subprocess, sys
from pathlib import Path
from models import tune
waiting = "import time; from models import training as t; t._work = lambda _, say: (say({}), time.sleep(60)); t.main()"
tune._COMMAND = (sys.executable, "-c", waiting)
with tune._started({}) as process:
    process.stdout.readline()
    print(process.pid, flush=True)
    sys.stdin.read()
"""
"""Starts a training that waits, says its process, and waits itself."""


@pytest.mark.slow
def test_a_training_ends_with_the_process_that_asked_for_it() -> None:
    asked = subprocess.Popen(
        [sys.executable, "-c", ALIVE], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert asked.stdout
    trainer = int(asked.stdout.readline())
    assert not gone(trainer, 0.2)
    os.kill(asked.pid, signal.SIGKILL)
    asked.communicate()
    assert gone(trainer)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    for number in (3, 6, 12):
        made = tmp_path / f"checkpoint-{number}"
        made.mkdir()
        (made / "model.safetensors").write_bytes(b"weights" * 100)
        (made / "optimizer.pt").write_bytes(b"moments" * 100)
        vouch(made)
    assert last_whole(tmp_path) == tmp_path / "checkpoint-12"
    (tmp_path / "checkpoint-12" / "optimizer.pt").write_bytes(b"moments" * 99)
    assert last_whole(tmp_path) == tmp_path / "checkpoint-6"
    assert not (tmp_path / "checkpoint-12").exists()
    (tmp_path / "checkpoint-6" / "whole.json").unlink()
    (tmp_path / "checkpoint-3" / "whole.json").write_text("{", encoding="utf-8")
    assert last_whole(tmp_path) is None


def gone(process: int, seconds: float = 10) -> bool:
    """Wait until a process is gone."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@trains
@pytest.mark.slow
def test_the_embedder_that_ships_is_tuned_within_its_memory(real_embedder: Any, tmp_path: Path) -> None:
    """The real model takes the pairs that it is taught nearer to each other than it had them."""
    pairs = [
        Pair("What is wrong when my culture reeks of acid?", "It smells of vinegar when it is hungry.", "file"),
        Pair("How do I protect my bike in the cold season?", "Salt eats chains. Wipe the chain after a ride.", "file"),
        Pair("Can I bake without any leavening agent?", "Roll flour, water and oil thin, and fry it dry.", "file"),
        Pair("What did leaving out trackers bring?", "The old pages took 2.4 s on a phone, the new 0.3 s.", "file"),
    ]
    list(train(real_embedder.folder, pairs, Recipe(epochs=3, batch=4), tmp_path, Event()))
    after = SentenceTransformerEmbedder(str(tmp_path / MODEL))
    run = run_of(tmp_path)
    assert run.dims == (384, 256, 128, 64)
    assert run.peak_bytes < 4e9
    questions, passages = [pair.question for pair in pairs], [pair.passage for pair in pairs]

    def margin(embedder: Any) -> float:
        cosines = embedder.encode_queries(questions) @ embedder.encode_documents(passages).T
        return float(cosines.diagonal().sum() / 4 - (cosines.sum() - cosines.diagonal().sum()) / 12)

    assert margin(after) > margin(real_embedder)
    json.loads((tmp_path / MODEL / "config_sentence_transformers.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def few_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests that run beside each other share the machine."""
    monkeypatch.setenv("CPU_CORES", "1")


def test_who_looks_first_does_not_wait_twice(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def pace(_: Path, pairs: Sequence[Pair], *__: object) -> Pace:
        tried.append(len(pairs))
        return Pace(1.0, 0.1, 0.1)

    monkeypatch.setattr("models.tune.pace", pace)
    workshop, pairs = SentenceTransformerWorkshop(), made_pairs()
    for asked in (pairs, pairs[1:]):
        assert workshop.pace(base, asked, BREAD, Event()) == Pace(1.0, 0.1, 0.1)
    workshop.pace(base, [*pairs, Pair("Another?", "It is another.", "asked")], BREAD, Event())
    workshop.pace(base, pairs, replace(BREAD, batch=2), Event())
    assert tried == [len(pairs), len(pairs) + 1, len(pairs)]
