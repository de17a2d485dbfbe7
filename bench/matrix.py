#!/usr/bin/env python3
"""The filters of MAP-Neo's released Python against `neo`; called by bench/matrix.sh.

Both judge the reference documents that MAP-Neo's code kept, so that every rule is asked of every document on both
sides. Their functions run unchanged, in a folder laid out as they want it, over as many documents as fit in the
time; ours is `data/examples/filter_speed.rs`, faithful mode, in memory like theirs.
"""
import argparse
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import redirect_stdout

import zstandard


def records_of(path):
    stream = zstandard.ZstdDecompressor().stream_reader(open(path, "rb"))
    return [json.loads(line) for line in io.TextIOWrapper(stream, encoding="utf8", newline="\n")]


def module_of(path, name):
    """A module of theirs, with the files beside it in reach and without its chatter."""
    sys.path.insert(0, os.path.dirname(path))
    for neighbour in ["bad_url_words", "utils"]:
        sys.modules.pop(neighbour, None)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    argv, sys.argv = sys.argv, [path]
    try:
        with redirect_stdout(io.StringIO()):
            spec.loader.exec_module(module)
    finally:
        sys.argv = argv
        sys.path.pop(0)
    return module


def lay_out(work, assets):
    """The working folder that their English code expects: word list, language model, nltk's data."""
    folder = os.path.join(work, "as_they_want_it")
    punkt = os.path.join(folder, "nltk_data/nltk_data/tokenizers/punkt_tab/english")
    os.makedirs(punkt, exist_ok=True)
    for name in os.listdir(os.path.join(assets, "punkt_tab/english")):
        shutil.copy(os.path.join(assets, "punkt_tab/english", name), punkt)
    shutil.copy(os.path.join(assets, "en_gopher_stopwords.json"), folder)
    shutil.copy(model_of(assets), os.path.join(folder, "lid.176.bin"))
    return folder


def model_of(assets):
    names = ["lid.176.bin", "lid.standin.bin"]
    return next(path for path in (os.path.join(assets, name) for name in names) if os.path.exists(path))


def rate(work, records, seconds):
    """Bytes per second by the clock, as neo is timed, over as many records as fit in the time; each must pass, or not every rule was asked."""
    done, started = 0, time.perf_counter()
    for record in records:
        if not work(record):
            sys.exit(f"MAP-Neo's code drops {record['id']}, which it kept before: are its packages other ones?")
        done += len((record.get("text") or record.get("raw_content")).encode("utf8"))
        if time.perf_counter() - started > seconds:
            break
    return done / (time.perf_counter() - started) / 1e6


class AnyLanguage:
    """Stands in for the language model."""

    def predict(self, text, k=1):
        return ("__label__en",), [1.0]


def english(options, folder):
    path = os.path.join(options.map_neo, "Matrix/english_data_clean_pipeline/filter/util_with_try.py")
    os.chdir(folder)
    module = module_of(path, "original_english")
    judge = lambda record: module.filter_one_line_wrap(module.args)(record["text"])
    return module, judge


def chinese(options, assets):
    path = os.path.join(options.map_neo, "Matrix/chinese_data_clean_pipeline/filter/filter.py")
    module = module_of(path, "original_chinese")
    import fasttext
    module.model = fasttext.load_model(model_of(assets))
    trie = module.Trie()
    stream = zstandard.ZstdDecompressor().stream_reader(open(os.path.join(assets, "ut1_urls.tsv.zst"), "rb"))
    for line in io.TextIOWrapper(stream, encoding="utf8", errors="replace"):
        trie.insert(module.remove_url_head(line.rstrip("\n").split("\t", 1)[1].strip()))
    options_of_theirs = argparse.Namespace(fasttext_model_dir=None)

    def judge(record):
        kept = io.StringIO()
        return module.filter_single_line(record["line"], 0, options_of_theirs, kept, io.StringIO(), trie)

    return judge


def neo_rate(options, threads, rules, assets, path):
    command = [options.speed, str(threads), rules, assets, path]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(re.search(r"verdicts ([\d.]+) MB/s", printed).group(1))


def without_language(root, work):
    """Our English rules without language identification, as a rule file."""
    lines = open(os.path.join(root, "data/src/filter/matrix_en.toml"), encoding="utf8").readlines()
    path = os.path.join(work, "without_language.toml")
    open(path, "w", encoding="utf8").writelines(line for line in lines if not line.startswith("E9 "))
    return path


def write(path, records, field):
    with open(path, "w", encoding="utf8") as out:
        for record in records:
            kept = {"id": str(record["id"]), "text": record[field], "url": record.get("url")}
            out.write(json.dumps(kept, ensure_ascii=False) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--map-neo", required=True)
    parser.add_argument("--golden", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--speed", required=True)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for name in ["map_neo", "golden", "work", "speed"]:
        setattr(options, name, os.path.abspath(getattr(options, name)))
    data = os.path.join(options.golden, "data")
    assets = os.path.join(options.work, "assets")
    shutil.copytree(data, assets, dirs_exist_ok=True)
    shutil.copy(model_of(data), os.path.join(assets, "lid.176.bin"))

    en = [record for record in records_of(os.path.join(options.golden, "en_verdicts.jsonl.zst")) if record["keep"]]
    zh = [record for record in records_of(os.path.join(options.golden, "zh_verdicts.jsonl.zst")) if record["keep"]]
    for record in zh:
        record["line"] = json.dumps({"raw_content": record["raw_content"], "url": record.get("url")})
    en_path, zh_path = (os.path.join(options.work, name) for name in ["en.jsonl", "zh.jsonl"])
    write(en_path, en, "text")
    write(zh_path, zh, "raw_content")

    module, judge_en = english(options, lay_out(options.work, assets))
    language_model = module.model

    def with_model(model):
        def judge(record):
            module.model = model
            return judge_en(record)
        return judge

    cases = [
        ("English, every rule", with_model(language_model), en, "matrix-en", en_path),
        ("  without language id", with_model(AnyLanguage()), en, without_language(root, options.work), en_path),
        ("Chinese", chinese(options, assets), zh, "matrix-zh", zh_path),
    ]
    print(f"{len(en)} English and {len(zh)} Chinese documents that pass; MB of text per second")
    print(f"{'':<24}{'Python':>10}{'neo':>10}{'ratio':>8}{'2 threads':>11}{'/ 1':>7}")
    for name, judge, records, rules, path in cases:
        theirs, ours, two = [], [], []
        for _ in range(options.rounds):
            theirs.append(rate(judge, records, options.seconds / options.rounds))
            ours.append(neo_rate(options, 1, rules, assets, path))
            two.append(neo_rate(options, 2, rules, assets, path))
        theirs, ours, two = max(theirs), max(ours), max(two)
        print(f"{name:<24}{theirs:>10.3f}{ours:>10.1f}{ours / theirs:>8.0f}{two:>11.1f}{two / ours:>7.2f}", flush=True)


if __name__ == "__main__":
    main()
