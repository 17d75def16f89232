"""What others would write: a plain script, and LangChain's usual way. Stands alone, for it runs in their environment.

`python benchmarks/rivals.py ROW JOB` reads a job that benchmarks/ingest.py wrote: {"model": folder, "passages": [text],
"files": [path]}, and prints {"passages", "seconds", "memory_mb"}. Loading the model and the libraries is left out."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def plain(job: dict[str, Any]) -> tuple[int, float]:
    """sentence-transformers' encode as it comes, then Chroma's upsert."""
    import chromadb
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(job["model"], device="cpu")
    model.encode(["warm"])
    with tempfile.TemporaryDirectory() as folder:
        client = chromadb.PersistentClient(folder)
        collection = client.get_or_create_collection("posts", metadata={"hnsw:space": "cosine"})
        texts = job["passages"]
        started = time.perf_counter()
        vectors = model.encode(texts)
        most = client.get_max_batch_size()
        for at in range(0, len(texts), most):
            part = slice(at, at + most)
            ids = [str(number) for number in range(len(texts))[part]]
            collection.upsert(ids=ids, embeddings=vectors[part], documents=texts[part])
        return len(texts), time.perf_counter() - started


def langchain(job: dict[str, Any]) -> tuple[int, float]:
    """LangChain's Chroma.from_texts over the same passages."""
    from langchain_chroma import Chroma

    embeddings = _langchain_embeddings(job)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        Chroma.from_texts(job["passages"], embeddings, persist_directory=folder)
        return len(job["passages"]), time.perf_counter() - started


def langchain_own(job: dict[str, Any]) -> tuple[int, float]:
    """LangChain's tutorial: DirectoryLoader, RecursiveCharacterTextSplitter of 1000 characters, 200 shared, Chroma."""
    from langchain_chroma import Chroma
    from langchain_community.document_loaders import DirectoryLoader, TextLoader
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    embeddings = _langchain_embeddings(job)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as posts:
        for number, path in enumerate(job["files"]):
            (Path(posts) / f"{number}.md").symlink_to(path)
        started = time.perf_counter()
        documents = DirectoryLoader(posts, glob="*.md", loader_cls=TextLoader).load()
        chunks = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=200).split_documents(documents)
        Chroma.from_documents(chunks, embeddings, persist_directory=folder)
        return len(chunks), time.perf_counter() - started


def _langchain_embeddings(job: dict[str, Any]) -> Any:
    from langchain_huggingface import HuggingFaceEmbeddings

    embeddings = HuggingFaceEmbeddings(model_name=job["model"], model_kwargs={"device": "cpu"})
    embeddings.embed_query("warm")
    return embeddings


ROWS = {"plain": plain, "langchain": langchain, "langchain-own": langchain_own}


def memory_mb() -> int:
    """Return the most memory that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts the process that started this one in ru_maxrss
        return round(int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3))


def main() -> None:
    name, job = sys.argv[1:]
    passages, seconds = ROWS[name](json.loads(Path(job).read_text(encoding="utf-8")))
    print(json.dumps({"passages": passages, "seconds": seconds, "memory_mb": memory_mb()}))


if __name__ == "__main__":
    main()
