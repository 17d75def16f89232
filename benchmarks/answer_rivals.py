"""How others answer: llama-cpp-python's own chat call, and LangChain's usual chain, in an environment of its own.

`python -m benchmarks.answer_rivals ROW JOB` reads a job that benchmarks/answer.py wrote and prints what it measured.
The job: {"gguf": file, "threads", "context", "longest", "penalty", "passages", "embedder": folder, "folder", "texts":
[passage], "questions": [{"text", "messages"}]}. Printed: {"answers": [{"first_token_s", "total_s", "tokens_per_s",
"text"}], "peak_mb"}."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.rivals import memory_mb

Asked = Callable[[dict[str, Any]], Iterable[str]]
"""Takes a question and yields the pieces of an answer."""


def plain(job: dict[str, Any]) -> Asked:
    """create_chat_completion on the prompt that Footnote writes, nothing else."""
    import llama_cpp

    threads = {"n_threads": job["threads"], "n_threads_batch": job["threads"]}
    model = llama_cpp.Llama(job["gguf"], n_ctx=job["context"], verbose=False, **threads)

    def ask(question: dict[str, Any]) -> Iterator[str]:
        model.reset()  # else a question that shares its beginning with the last one is read faster
        form = {"temperature": 0.0, "repeat_penalty": job["penalty"], "max_tokens": job["longest"]}
        for chunk in model.create_chat_completion(question["messages"], stream=True, **form):
            piece = chunk["choices"][0]["delta"].get("content")
            if piece:
                yield piece

    return ask


def langchain(job: dict[str, Any]) -> Asked:
    """Chroma over the same passages, a prompt as its tutorials have it, LlamaCpp."""
    from langchain_chroma import Chroma
    from langchain_community.llms import LlamaCpp
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import PromptTemplate
    from langchain_core.runnables import RunnablePassthrough
    from langchain_huggingface import HuggingFaceEmbeddings

    embeddings = HuggingFaceEmbeddings(model_name=job["embedder"], model_kwargs={"device": "cpu"})
    store = Chroma.from_texts(job["texts"], embeddings, persist_directory=tempfile.mkdtemp(dir=job["folder"]))
    template = PromptTemplate.from_template(
        "Answer the question from the context in one or two short sentences.\n\n"
        "Context:\n{context}\n\nQuestion: {question}\n\nAnswer:"
    )
    writer = LlamaCpp(
        model_path=job["gguf"],
        n_ctx=job["context"],
        n_threads=job["threads"],
        temperature=0.0,
        repeat_penalty=job["penalty"],
        max_tokens=job["longest"],
        verbose=False,
    )
    found = store.as_retriever(search_kwargs={"k": job["passages"]})
    joined = found | (lambda documents: "\n\n".join(document.page_content for document in documents))
    chain = {"context": joined, "question": RunnablePassthrough()} | template | writer | StrOutputParser()

    def ask(question: dict[str, Any]) -> Iterator[str]:
        yield from chain.stream(question["text"])

    return ask


ROWS: dict[str, Callable[[dict[str, Any]], Asked]] = {"plain": plain, "langchain": langchain}


def timed(pieces: Iterable[str]) -> dict[str, Any]:
    """Return an answer with its times; each piece is a token."""
    started = time.perf_counter()
    moments, text = [], ""
    for piece in pieces:
        moments.append(time.perf_counter() - started)
        text += piece
    total = time.perf_counter() - started
    return {
        "first_token_s": moments[0] if moments else total,
        "total_s": total,
        "tokens_per_s": rate(moments),
        "text": text,
    }


def rate(moments: list[float]) -> float | None:
    """Return how many tokens a second came after the first one, None if there are too few to tell."""
    return (len(moments) - 1) / (moments[-1] - moments[0]) if len(moments) > 5 else None


def main() -> None:
    name, job = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    ask = ROWS[name](job)
    timed(ask(job["questions"][0]))  # the first call also loads what the others find there
    answers = [timed(ask(question)) for question in job["questions"]]
    print(json.dumps({"answers": answers, "peak_mb": memory_mb()}))


if __name__ == "__main__":
    main()
