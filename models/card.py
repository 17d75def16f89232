"""The model card of a tuned embedder, and its way to the Hub.

A card says what was measured, on what and against what, and how the model came about; it quotes nobody's posts. What
is published is the model and its card, never what it was trained on."""

from __future__ import annotations

import glob
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from models.embedder import model_files
from models.hub import is_repo_id
from models.measure import METRICS
from models.training import Run
from rag.errors import ModelError, first_line
from rag.records import Recipe

CARD = "README.md"
_PLACE = "path/to/this/folder"  # stands in the card until it is pushed
_KNOWN = {"all-MiniLM-L6-v2": "sentence-transformers/all-MiniLM-L6-v2"}  # the one that ships comes under its short name
_ENDINGS = (".json", ".txt", ".model", ".safetensors")
_SHOWN = ("ndcg@10", "accuracy@1", "accuracy@10", "mrr@10")
_PACKAGES = ("sentence-transformers", "transformers", "torch", "accelerate", "datasets", "tokenizers")
_ORIGINS = {
    "text": "made of the posts' own sentences, titles and headings",
    "writer": "written by a language model that read the passage",
    "file": "given by the person who tuned it",
    "asked": "asked in Footnote, and answered with a thumbs-up",
}


@dataclass(frozen=True)
class Facts:
    """What a card tells. `before` and `after` are metrics (0..1) by width, then by the names in measure.METRICS.

    `base` is the base model's id on the Hub, or its name. `origins` counts the pairs by where they came from, `refused`
    those that were left out, by reason: sentences without words of posts. `questions` and `passages` are how many it
    was measured with. `confidence` (0..1) is how sure it is that the model got better. `date` is a day (ISO).
    """

    base: str
    run: Run
    recipe: Recipe
    before: Mapping[int, Mapping[str, float]]
    after: Mapping[int, Mapping[str, float]]
    questions: int
    passages: int
    origins: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    hybrid_before: float | None = None
    hybrid_after: float | None = None
    confidence: float | None = None
    date: str = ""


def write_card(folder: Path, facts: Facts) -> Path:
    """Write the card into a model's folder and return its path."""
    path = folder / CARD
    new = path.with_name(CARD + ".new")
    new.write_text(card_text(facts), encoding="utf-8")
    new.replace(path)
    return path


def card_text(facts: Facts) -> str:
    """Return the card: front matter as the Hub wants it, then Markdown."""
    # imported here: it is needed for nothing else
    import yaml

    front = yaml.safe_dump(_front_matter(facts), sort_keys=False, allow_unicode=True, width=1000)
    parts = (_opening, _usage, _evaluation, _training_data, _procedure, _CITATIONS)
    return f"---\n{front}---\n\n" + "\n\n".join(part if isinstance(part, str) else part(facts) for part in parts) + "\n"


def _front_matter(facts: Facts) -> dict[str, Any]:
    from huggingface_hub import EvalResult, ModelCardData

    base = _base_id(facts.base)
    results = [
        EvalResult(
            task_type="information-retrieval",
            task_name="Information Retrieval",
            dataset_type=f"dim_{dim}",  # the Hub tells results apart by it
            dataset_name=f"Held-out questions, vectors of {dim} numbers",
            metric_type=f"cosine_{name}",
            metric_name=f"Cosine {name}",
            metric_value=round(float(values[name]), 4),
        )
        for dim, values in facts.after.items()
        for name in METRICS
        if name in values
    ]
    data = ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        base_model=base,
        tags=[
            *("sentence-transformers", "sentence-similarity", "feature-extraction", "footnote"),
            *(f"dataset_size:{facts.run.pairs}", "loss:MatryoshkaLoss", f"loss:{_ranking(facts.run)}"),
        ],
        metrics=[f"cosine_{name}" for name in METRICS],
        model_name=f"{_name(facts.base)} tuned with Footnote",
        eval_results=results or None,
    )
    known = data.to_dict()  # type: ignore[no-untyped-call]
    return {name: value for name, value in known.items() if value is not None}


def _opening(facts: Facts) -> str:
    base = _base_id(facts.base)
    named = f"[{base}](https://huggingface.co/{base})" if base else _name(facts.base)
    dims = ", ".join(map(str, facts.run.dims))
    return (
        f"# {_name(facts.base)}, tuned with Footnote\n\n"
        f"This is a [sentence-transformers](https://www.sbert.net) model tuned from {named} to find the passages of a "
        f"blog that answer a question. It turns questions and passages into vectors. Its vectors can be cut to "
        f"{dims} numbers (Matryoshka) and compared by cosine. It was trained on one person's posts: on other texts it "
        "may be better or worse than its base, and nobody has measured that."
    )


def _usage(facts: Facts) -> str:
    return f"""## Usage

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{_PLACE}", truncate_dim={facts.run.dims[0]})
question = model.encode_query("How often do I feed a sourdough starter?", normalize_embeddings=True)
passages = model.encode_document(
    ["Feed it every morning with flour and water.", "Salt eats the chain of a bicycle."], normalize_embeddings=True
)
print(model.similarity(question, passages))
```

In Footnote: `FOOTNOTE_EMBEDDER={_PLACE}`."""


def _evaluation(facts: Facts) -> str:
    lines = [
        f"## Evaluation\n\nMeasured with `InformationRetrievalEvaluator` on {facts.questions:,} questions that were "
        f"held out of training, over {facts.passages:,} passages; before is the base model, after is this one.\n",
        f"| Dimensions | {' | '.join(f'{name} before | after' for name in _SHOWN)} |",
        f"| ---: {'| ---: ' * 2 * len(_SHOWN)}|",
    ]
    for dim, after in facts.after.items():
        before = facts.before.get(dim, {})
        cells = (f"{_number(before.get(name))} | {_number(after.get(name))}" for name in _SHOWN)
        lines.append(f"| {dim} | {' | '.join(cells)} |")
    if facts.hybrid_before is not None and facts.hybrid_after is not None:
        lines.append(
            f"\nTogether with full-text search, as Footnote searches: NDCG@10 {facts.hybrid_before:.3f} before, "
            f"{facts.hybrid_after:.3f} after."
        )
    if facts.confidence is not None:
        lines.append(
            f"\nA paired bootstrap over the questions says with {facts.confidence:.1%} confidence that search by "
            "vectors alone got better."
        )
    lines.append("\nAll metrics, at each width:\n")
    lines.append(f"| Metric | {' | '.join(f'{dim} before | after' for dim in facts.after)} |")
    lines.append(f"| :--- {'| ---: ' * 2 * len(facts.after)}|")
    for name in METRICS:
        both = ((facts.before.get(dim, {}), after) for dim, after in facts.after.items())
        cells = (f"{_number(before.get(name))} | {_number(after.get(name))}" for before, after in both)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _training_data(facts: Facts) -> str:
    run = facts.run
    lines = [
        f"## Training data\n\n{run.pairs:,} pairs of a question and a passage that answers it, about {run.passages:,} "
        f"passages, with {run.negatives:,} passages that look alike and do not. They are not published.\n"
    ]
    lines += [f"- {count:,} {_ORIGINS.get(origin, origin)}" for origin, count in facts.origins.items() if count]
    if refused := {reason: count for reason, count in facts.refused.items() if count}:
        lines.append(f"\n{sum(refused.values()):,} more were refused before training:\n")
        lines += [f"- {count:,}: {reason}" for reason, count in sorted(refused.items(), key=lambda item: -item[1])]
    return "\n".join(lines)


def _procedure(facts: Facts) -> str:
    run, recipe = facts.run, facts.recipe
    rows = {
        "Loss": f"MatryoshkaLoss over {_ranking(run)}, widths {', '.join(map(str, run.dims))}, all of weight 1",
        "Epochs": recipe.epochs,
        "Steps": run.steps,
        "Batch size": run.batch if run.batch == recipe.batch else f"{run.batch} (memory did not do for {recipe.batch})",
        "Learning rate": f"{recipe.learning_rate:g}, linear, the first tenth of the steps to warm up",
        "Optimizer": "AdamW",
        "Weights": ""
        if recipe.taken == 1
        else f"{recipe.taken:g} of the way from the base's to those learned (WiSE-FT)",
        "Seed": recipe.seed,
        "Precision": run.precision,
        "Batches": "no passage twice in one",
        "Hardware": run.device,
        "Time": f"{run.seconds:,.0f} s",
        "Peak memory": f"{run.peak_bytes / 1e9:.1f} GB" if run.peak_bytes else "",
        "Last loss": f"{run.loss:.4f}" if run.loss is not None else "",
        "Date": facts.date,
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items() if value != "")
    versions = "\n".join(f"- {name} {number}" for name, number in _versions().items())
    return (
        f"## Training\n\n| | |\n| :--- | :--- |\n{table}\n\n### Framework versions\n\n"
        f"- Python {platform.python_version()}\n{versions}"
    )


_CITATIONS = """## Citation

```bibtex
@inproceedings{reimers-2019-sentence-bert,
    title = "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks",
    author = "Reimers, Nils and Gurevych, Iryna",
    booktitle = "Proceedings of the 2019 Conference on Empirical Methods in Natural Language Processing",
    month = "11",
    year = "2019",
    publisher = "Association for Computational Linguistics",
    url = "https://arxiv.org/abs/1908.10084",
}

@misc{kusupati2024matryoshka,
    title = {Matryoshka Representation Learning},
    author = {Aditya Kusupati and Gantavya Bhatt and Aniket Rege and Matthew Wallingford and Aditya Sinha and Vivek
        Ramanujan and William Howard-Snyder and Kaifeng Chen and Sham Kakade and Prateek Jain and Ali Farhadi},
    year = {2024},
    eprint = {2205.13147},
    archivePrefix = {arXiv},
    primaryClass = {cs.LG}
}

@misc{henderson2017efficient,
    title = {Efficient Natural Language Response Suggestion for Smart Reply},
    author = {Matthew Henderson and Rami Al-Rfou and Brian Strope and Yun-hsuan Sung and Laszlo Lukacs and Ruiqi Guo
        and Sanjiv Kumar and Balint Miklos and Ray Kurzweil},
    year = {2017},
    eprint = {1705.00652},
    archivePrefix = {arXiv},
    primaryClass = {cs.CL}
}
```"""


def published(folder: Path) -> list[str]:
    """List the files of a model that are published: its weights, tokenizer, configuration, and its card.

    Raise ModelError if it is no model, or has no card.
    """
    if not (folder / "modules.json").is_file():
        raise ModelError(f"There is no sentence-transformers model in {folder}. Tune one first.")
    if not (folder / CARD).is_file():
        raise ModelError(f"The model in {folder} has no card ({CARD}). Tune it again to have one.")
    names = sorted(path.relative_to(folder).as_posix() for path in model_files(folder) if path.suffix in _ENDINGS)
    return [CARD, *(name for name in names if name not in _PRIVATE)]


_PRIVATE = ("run.json", "whole.json", "trainer_state.json")  # of a training, should one be where a model is


def push(folder: Path, repo: str) -> str:
    """Publish a model and its card as `repo` ("owner/name") on the Hub, private; return its address. Raise ModelError.

    With the token of `hf auth login`, or HF_TOKEN; what is public already is not written to. The card names the
    repository afterwards, here as well.
    """
    if not is_repo_id(repo):
        raise ModelError(f"{repo} is no name of a repository. Give one such as your-name/my-embedder.")
    files = published(folder)
    # imported here, like all of the Hub's: only who publishes needs it
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = HfApi()
    try:
        address = str(api.create_repo(repo, private=True, exist_ok=True))
        if not api.repo_info(repo).private:
            raise ModelError(f"{repo} is public, and the model was to be private. Give another name.")
        _name_in_card(folder / CARD, repo)
        api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            allow_patterns=[glob.escape(name) for name in files],
            commit_message="Tuned with Footnote",
        )
    except HfHubHTTPError as error:
        raise ModelError(answered(repo, error)) from error
    except HFValidationError as error:
        raise ModelError(f"{repo} is no name of a repository. Give one such as your-name/my-embedder.") from error
    except (OSError, httpx2.HTTPError) as error:
        raise ModelError(
            f"The Hub could not be reached, or the connection broke ({type(error).__name__}). Check the network and "
            "push again."
        ) from error
    except ValueError as error:
        raise ModelError(f"The Hub did not take the model ({_line(error)}). Push it again.") from error
    return address


def _name_in_card(card: Path, repo: str) -> None:
    """Let the usage in the card name the repository."""
    text = card.read_text(encoding="utf-8")
    text = re.sub(r'(?m)^(model = SentenceTransformer\(")[^"\n]+"', rf'\g<1>{repo}"', text)
    text = re.sub(r"(`FOOTNOTE_EMBEDDER=)[^`\n]+`", rf"\g<1>{repo}`", text)
    new = card.with_name(CARD + ".new")
    new.write_text(text, encoding="utf-8")
    new.replace(card)


def answered(repo: str, error: Any) -> str:
    """Say in a sentence what the Hub answered when something was sent there."""
    status = int(getattr(getattr(error, "response", None), "status_code", 0) or 0)
    if status in _SENTENCES:
        return _SENTENCES[status].format(repo=repo)
    if status >= 500:
        return f"The Hub is out of order (it answered {status}). Wait a few minutes and push again."
    return f"The Hub did not take {repo}: {_line(error)}. Change that and push again."


_SENTENCES = {
    401: "The Hub does not know who you are. Run `hf auth login` with a token that may write, and push again.",
    403: "The Hub does not let you write to {repo}. Use a token that may write there, or give another name.",
    404: "There is no {repo} on the Hub, and no such owner, or you may not see it. Check the spelling of the name.",
    409: "{repo} was changed by somebody else at the same moment. Push again.",
    429: "The Hub has had too many requests from you. Wait a few minutes and push again.",
}


def _line(error: BaseException) -> str:
    """Return the first line of what the Hub says went wrong, or else the error."""
    return first_line(getattr(error, "server_message", None) or error).rstrip(".")


def _base_id(base: str) -> str | None:
    """Return the base model's id on the Hub, None if it has none that is known."""
    if Path(base).is_absolute():
        return None
    return _KNOWN.get(base, base if is_repo_id(base) else None)


def _name(base: str) -> str:
    """Return a model's name without its owner, or the folders it lies in."""
    return base.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _ranking(run: Run) -> str:
    return "CachedMultipleNegativesRankingLoss" if run.cached else "MultipleNegativesRankingLoss"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
