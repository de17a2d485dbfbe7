#!/usr/bin/env python3
"""The data engine under a memory limit of the kernel, and killed again and again.

Makes a corpus by repeating and perturbing the shared texts, English and Chinese: of every round of all documents some
are copied as they are, some with a few words changed, and most are rewritten word by word (Chinese: character by
character) by a substitution of the round's own, so that they share no stretch of 50 characters with another round.
The corpus depends on the seed and its size alone.

Then the whole pipeline (filters of both languages, exact, MinHash, paragraphs, substrings, tokenizer) runs over it
twice: without a limit, and within `--limit-mib` that the kernel enforces (a memory cgroup of version 1 or 2, else
RLIMIT_AS) with little memory in the recipe. It must have spilled, and its results must be those of the first run.
At last the same run is ended with SIGKILL `--kills` times at random moments and continued each time.

    python3 bench/engine.py --neo target/release/neo --shared ../shared/data --megabytes 2000

Needs the standard library, the `zstd` program, and about eight times the corpus on disk. Exit code 0 when everything is as it must be, else 1.
"""
import argparse
import hashlib
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

ENGLISH = ["en_books", "en_c4_sample", "en_wiki_sample", "en_wikitext2_valid", "en_tinyshakespeare"]
CHINESE = ["zh_novels", "zh_docs", "zh_classics", "zh_poetry"]
DOCUMENT_CHARS = {"en": 6000, "zh": 2500}
# Shares of every round but the first that are copied and slightly changed; the others are rewritten.
COPIED, CHANGED = 0.15, 0.05
# Words and characters that stay: the commonest, so that filters still see the language.
COMMON = {"en": 150, "zh": 300}
TOKENS = {"en": re.compile(r"[A-Za-z]+|[^A-Za-z]+"), "zh": re.compile(r"(?s).")}

RECIPE = """\
name = "engine"

[engine]
shard_bytes = {shard_bytes}
memory_bytes = {memory_bytes}

[[source]]
name = "en"
language = "en"
input = ["{corpus}/en.jsonl"]
format = "jsonl"

[[source]]
name = "zh"
language = "zh"
input = ["{corpus}/zh.jsonl"]
format = "jsonl"

[[stage]]
kind = "filter"
rules = "matrix-en"
mode = "corrected"
language = "en"
assets = "{shared}/golden/matrix/data"

[[stage]]
kind = "filter"
rules = "matrix-zh"
mode = "corrected"
language = "zh"
assets = "{shared}/golden/matrix/data"

[[stage]]
kind = "dedup"
method = "exact"

[[stage]]
kind = "dedup"
method = "minhash"
scheme = "fast"
normalise = "by-language"
mode = "corrected"

[[stage]]
kind = "dedup"
method = "paragraph"
mode = "corrected"

[[stage]]
kind = "dedup"
method = "substring"
mode = "corrected"

[tokenizer]
path = "{shared}/tokenizer/neo_tokenizer.model"

[output]
format = "parquet"
"""


def read_text(path):
    """A shared corpus as one text: the texts of its records, or the file itself."""
    raw = subprocess.run(["zstd", "-dcq", str(path)], check=True, stdout=subprocess.PIPE).stdout
    text = raw.decode("utf-8")
    if ".jsonl" not in path.name:
        return text
    return "\n".join(json.loads(line)["text"] for line in text.split("\n") if line.strip())


def documents_of(language, shared):
    """Pieces of all texts of a language, cut at line ends, each as a list of tokens."""
    documents, limit = [], DOCUMENT_CHARS[language]
    for name in ENGLISH if language == "en" else CHINESE:
        (path,) = sorted((shared / "corpus").glob(f"{name}.*"))
        lines, size = [], 0
        for line in read_text(path).split("\n"):
            lines.append(line)
            size += len(line)
            if size >= limit:
                documents.append(TOKENS[language].findall("\n".join(lines)))
                lines, size = [], 0
    return documents


def changeable(language, token):
    if language == "en":
        return len(token) > 3 and token.isascii() and token.isalpha() and token.islower()
    return "\u4e00" <= token <= "\u9fff"


def write_corpus(language, shared, path, n_bytes, seed):
    """Rounds of all documents until there are enough bytes."""
    documents = documents_of(language, shared)
    counts = {}
    for document in documents:
        for token in document:
            if changeable(language, token):
                counts[token] = counts.get(token, 0) + 1
    by_count = sorted(counts, key=lambda token: (-counts[token], token))[COMMON[language]:]
    written, number = 0, 0
    with open(path, "w", encoding="utf-8") as file:
        while written < n_bytes:
            rng = random.Random(f"{seed} {language} {number}")
            rewriting = dict(zip(by_count, rng.sample(by_count, len(by_count)))) if number else {}
            for index, document in enumerate(documents):
                kind = rng.random()
                if number == 0 or kind < COPIED:
                    text = "".join(document)
                elif kind < COPIED + CHANGED:
                    changed = list(document)
                    changed[rng.randrange(len(changed))] = rng.choice(by_count)
                    text = "".join(changed)
                else:
                    text = "".join([rewriting.get(token, token) for token in document])
                record = {"id": f"{language}-{number:04}-{index:06}", "text": text,
                          "url": f"http://example.org/{language}/{number}/{index}"}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
                written += len(text.encode("utf-8"))
                if written >= n_bytes:
                    break
            number += 1
    return written, number


class Limit:
    """A limit on the memory of a program that the kernel enforces."""

    def __init__(self, n_bytes):
        self.n_bytes, self.group, self.kind = n_bytes, None, "none"
        if n_bytes is None:
            return
        for parent, file in [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
                             ("/sys/fs/cgroup", "memory.max")]:
            group = Path(parent) / f"neo-engine-{os.getpid()}"
            try:
                group.mkdir()
            except OSError:
                continue
            try:
                (group / file).write_text(str(n_bytes))
                self.group, self.kind = group, str(group / file)
                return
            except OSError:
                group.rmdir()
        # Counts mapped files and unused stacks too, so it is the harder limit.
        self.kind = "RLIMIT_AS"

    def enter(self):
        """Called in the child, before the program starts."""
        if self.group:
            (self.group / "cgroup.procs").write_text(str(os.getpid()))
        elif self.n_bytes is not None:
            resource.setrlimit(resource.RLIMIT_AS, (self.n_bytes, self.n_bytes))

    def peak(self):
        for name in ["memory.max_usage_in_bytes", "memory.peak"]:
            if self.group and (self.group / name).exists():
                return int((self.group / name).read_text())
        return None

    def leave(self):
        if self.group:
            self.group.rmdir()


def command(arguments, recipe, out):
    return [*arguments.neo.split(), "data", "run", str(recipe), "--out", str(out)]


def run(arguments, recipe, out, limit):
    """One run to its end; returns its wall and CPU seconds and its peak memory."""
    begun = time.time()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = subprocess.run(command(arguments, recipe, out), stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, preexec_fn=limit.enter)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if child.returncode != 0:
        sys.exit(f"exit code {child.returncode}: {child.stderr.decode()[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = limit.peak()
    limit.leave()
    return time.time() - begun, cpu, peak, child.stderr.decode()


def results(out):
    """One hash over all results: documents, what was dropped and changed, the corpus."""
    total = hashlib.sha256()
    for folder in ["documents", "dropped", "changed", "corpus"]:
        for path in sorted((out / folder).rglob("*")):
            if path.is_file():
                with open(path, "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                total.update(f"{path.relative_to(out)} {digest}\n".encode())
    account = json.loads((out / "account.json").read_text())
    total.update(json.dumps(account["sources"], sort_keys=True).encode())
    return total.hexdigest()


def stages(out):
    """(stage, bytes in, bytes kept), summed over the sources, and the shuffles."""
    account = json.loads((out / "account.json").read_text())
    totals = []
    for source in account["sources"]:
        for index, stage in enumerate(source["stages"]):
            if index == len(totals):
                totals.append([stage["stage"], 0, 0])
            totals[index][1] += stage["input"]["bytes"]
            totals[index][2] += stage["kept"]["bytes"]
    return totals, account["shuffles"]


def prepare(arguments, folder, megabytes):
    folder.mkdir(parents=True)
    for language in ["en", "zh"]:
        path = folder / f"{language}.jsonl"
        written, rounds = write_corpus(language, arguments.shared, path, megabytes * 500_000,
                                       arguments.seed)
        print(f"{language}: {written} bytes of text in {rounds} rounds", flush=True)


def write_recipe(arguments, path, corpus, memory_mib):
    path.write_text(RECIPE.format(corpus=corpus, shared=arguments.shared,
                                  shard_bytes=arguments.shard_mib << 20,
                                  memory_bytes=memory_mib << 20))
    return path


def survives(totals):
    """Share of the bytes that no deduplication drops."""
    first = next(index for index, total in enumerate(totals) if total[0] == "exact")
    return totals[-1][2] / totals[first][1]


def check_limit(arguments, recipe, limit, out):
    """A run and a second one that must find nothing to do; returns its seconds, its hash and what it spilled."""
    kind = limit.kind
    wall, cpu, peak, _ = run(arguments, recipe, out, limit)
    found = results(out)
    totals, shuffles = stages(out)
    spilled = sum(shuffle["spilled_bytes"] for shuffle in shuffles)
    print(f"limit {kind}: {wall:.0f} s, {cpu:.0f} CPU s, peak of the group {peak}, "
          f"spilled {spilled} bytes, results {found[:16]}", flush=True)
    for shuffle in shuffles:
        print(f"    {shuffle['stage']}: {shuffle['rows']} rows, {shuffle['spilled_bytes']} spilled")
    for name, came, kept in totals:
        print(f"    {name}: {came} -> {kept} bytes")
    print(f"    {100 * survives(totals):.1f} % of the bytes survive deduplication", flush=True)
    if survives(totals) < 0.5:
        sys.exit("less than half survives")
    _, _, _, said = run(arguments, recipe, out, Limit(None))
    if "nothing left to do" not in said:
        sys.exit(f"a second run found something to do: {said}")
    shutil.rmtree(out)
    return wall, found, spilled


def check_kills(arguments, recipe, out, wall):
    """The run killed again and again; returns its hash at last."""
    rng = random.Random(arguments.seed)
    delays, kills = [], 0
    while kills < arguments.kills:
        child = subprocess.Popen(command(arguments, recipe, out), stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        # Twice the average share of the work that is left for each kill, so that all of it is met.
        delay = rng.uniform(0.05, max(0.3, 2 * wall / arguments.kills))
        try:
            child.wait(delay)
            # It came to its end: from the beginning with what is left to kill.
            shutil.rmtree(out)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            kills += 1
            delays.append(round(delay, 2))
    run(arguments, recipe, out, Limit(None))
    print(f"killed after {delays} s of {wall:.1f} s, continued each time", flush=True)
    return results(out)


def check(arguments, root):
    corpus = root / "corpus"
    prepare(arguments, corpus, arguments.megabytes)
    wide = write_recipe(arguments, root / "wide.toml", corpus, 4096)
    narrow = write_recipe(arguments, root / "narrow.toml", corpus, arguments.memory_mib)
    _, expected, _ = check_limit(arguments, wide, Limit(None), root / "wide")
    limit = Limit(arguments.limit_mib << 20)
    wall, found, spilled = check_limit(arguments, narrow, limit, root / "narrow")
    if spilled == 0:
        sys.exit("nothing was spilled")
    if found != expected:
        sys.exit("the results differ")
    print("equal results with and without the limit; second runs had nothing to do", flush=True)
    if arguments.kills and check_kills(arguments, narrow, root / "killed", wall) != expected:
        sys.exit("the results of the killed run differ")
    print("equal results after the kills", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neo", default="target/release/neo")
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("out/engine"))
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--limit-mib", type=int, default=1024)
    parser.add_argument("--memory-mib", type=int, default=384)
    parser.add_argument("--shard-mib", type=int, default=64)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.shared = arguments.shared.resolve()
    arguments.work = arguments.work.resolve()
    if arguments.work.exists():
        sys.exit(f"`{arguments.work}` is there already; remove it or give another with --work")
    arguments.work.mkdir(parents=True)
    try:
        check(arguments, arguments.work)
    finally:
        shutil.rmtree(arguments.work)


main()
