"""More records like `golden_lm_eval.jsonl.zst`: other definitions, run through lm-evaluation-harness.

    python3 -m venv venv && venv/bin/pip install lm-eval==0.4.13
    DISABLE_MULTIPROC=1 venv/bin/python bench/lm_eval_variants.py ../shared/data/eval out/variants
    NEO_DATA=$PWD/out/variants cargo test --release --workspace --test conformance_lm_eval -- --nocapture

The model is the stand-in of the data folder's notes. Needs the `zstd` program.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

os.environ["HF_DATASETS_OFFLINE"] = "1"

from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask
from lm_eval.evaluator import evaluate

DATA, OUT = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
SOLUTIONS, FIELD = "scored_gsm8k_solutions.jsonl.zst", "175b_verification"


def rows(name):
    text = subprocess.run(["zstd", "-dc", DATA / name], check=True, capture_output=True).stdout.decode()
    return [json.loads(line) for line in text.split("\n") if line]


class StandIn(LM):
    written = {row["question"]: row[FIELD]["solution"].replace("\nA: ", "\n#### ") for row in rows(SOLUTIONS)}

    def loglikelihood(self, requests, **_):
        answers = []
        for request in requests:
            context, continuation = request.args
            digest = hashlib.sha256(context.encode() + b"\0" + continuation.encode()).digest()
            h = int.from_bytes(digest[:4], "big")
            answers.append((-(h % 100000) / 1000, h % 7 == 0))
        return answers

    def loglikelihood_rolling(self, requests, **_):
        return [-0.5 * len(request.args[0].encode()) for request in requests]

    def generate_until(self, requests, **_):
        return [self.written[request.doc["question"]] for request in requests]


def record(name, source, definition, inputs):
    """Runs one definition and returns its record."""
    folder = OUT / "raw"
    folder.mkdir(parents=True, exist_ok=True)

    def plain(file, split):
        kept = [r for r in rows(file) if all(r[k] == v for k, v in inputs.get("where", {}).items())]
        kept = kept[: inputs.get("limit")] if split == "test" else kept
        path = folder / f"{name}-{split}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in kept))
        return str(path)

    files = {"test": plain(source, "test")}
    if "fewshot" in inputs:
        files["train"] = plain(inputs["fewshot"], "train")
    definition = {"task": name, **definition}
    settings = {**json.loads(json.dumps(definition)), "dataset_path": "json", "dataset_kwargs": {"data_files": files}}
    task = ConfigurableTask(config=settings)
    task.set_fewshot_seed(1234)
    found = evaluate(lm=StandIn(), task_dict={name: task}, bootstrap_iters=2000, log_samples=True)
    results = {k: v for k, v in found["results"][name].items() if k not in ("name", "alias")}
    requests, first, n_docs = hashlib.sha256(), [], 0
    for doc_id in sorted({instance.doc_id for instance in task.instances}):
        asked = []
        for instance in sorted((i for i in task.instances if i.doc_id == doc_id), key=lambda i: i.idx):
            pair = instance.request_type == "loglikelihood"
            continuation = instance.args[1] if pair else ""
            requests.update(instance.args[0].encode() + b"\x1f" + continuation.encode() + b"\x1e")
            asked.append([instance.args[0], continuation if pair else None])
        first.append(asked)
        n_docs += 1
    plain_scores = ("acc", "acc_norm", "acc_bytes", "exact_match", "perplexity", "word_perplexity")
    scores = [{m: s[m] for m in s["metrics"] if m in plain_scores} for s in found["samples"][name][:2]]
    return {"task": name, "results": results, "definition": definition, "n_docs": n_docs,
            "requests_sha256": requests.hexdigest(), "first_requests": first[:2], "first_scores": scores}


CHOICE = {"test_split": "test", "output_type": "multiple_choice"}
SAME = {"fewshot_split": "test"}
WRITE = {"test_split": "test", "output_type": "generate_until"}
ARC, GSM = "arc_easy.jsonl.zst", "gsm8k_test.jsonl.zst"
TRAIN = {"fewshot": "gsm8k_train.jsonl.zst", "generations": {"file": SOLUTIONS, "field": FIELD}}
VARIANTS = {
    "description_and_prefix": (ARC, {
        **CHOICE, **SAME, "num_fewshot": 3, "description": "The following are questions.\n\n",
        "gen_prefix": "So it is", "doc_to_text": "{{query}}\nAnswer:", "doc_to_target": "gold",
        "doc_to_choice": "choices",
        "metric_list": [{"metric": "acc"}, {"metric": "brier_score"}, {"metric": "exact_match"}]}, {"limit": 150}),
    "loop_in_template": (ARC, {
        **CHOICE, **SAME, "num_fewshot": 2, "fewshot_delimiter": "\n###\n", "target_delimiter": "\n",
        "doc_to_text": '{% for c in choices %}{{ "ABCDE"[loop.index0] }}) {{ c|trim }}\n{% endfor %}'
        '{{query|replace("Question", "Q")}}', "doc_to_target": "{{gold}}", "doc_to_choice": "{{choices[:4]}}"},
        {"limit": 100}),
    "several_targets": (ARC, {
        **CHOICE, "doc_to_text": "{{query}}", "doc_to_target": "{{[gold, 0]}}", "doc_to_choice": "choices",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}, {"metric": "exact_match"}]}, {"limit": 100}),
    "target_as_text": (ARC, {
        **CHOICE, **SAME, "num_fewshot": 1, "doc_to_text": "{{query}}", "doc_to_target": "{{choices[gold]}}",
        "doc_to_choice": "choices", "metric_list": [{"metric": "acc"}]}, {"limit": 100}),
    "contexts_with_shots": ("winogrande.jsonl.zst", {
        **CHOICE, **SAME, "num_fewshot": 3, "doc_to_text": "gold", "doc_to_choice": "context_options",
        "doc_to_target": "{{continuation}}"}, {"limit": 120}),
    "choices_as_mapping": ("boolq.jsonl.zst", {
        **CHOICE, **SAME, "num_fewshot": 6, "doc_to_text": '{{query.split("Question:")[1].strip()}}?\nA:',
        "doc_to_choice": {"x": "no", "y": "yes"}, "doc_to_target": "gold",
        "metric_list": [{"metric": m} for m in ("acc", "f1", "mcc", "acc_bytes")]}, {"limit": 200}),
    "mutual_information": ("hellaswag_val.jsonl.zst", {
        **CHOICE, **SAME, "num_fewshot": 7, "doc_to_text": "{{ctx|capitalize}}", "doc_to_target": "{{gold}}",
        "doc_to_choice": "{{endings|list}}",
        "metric_list": [{"metric": "acc_mutual_info"}, {"metric": "brier_score"}]}, {"limit": 60}),
    "list_of_targets": (GSM, {
        **WRITE, "fewshot_split": "train", "num_fewshot": 4, "description": "Answer:\n",
        "doc_to_text": "Q: {{question}}?\nA:", "doc_to_target": "{{[answer.split('#### ')[1], 'x']}}",
        "fewshot_delimiter": "\n",
        "filter_list": [
            {"name": "a", "filter": [
                {"function": "regex", "regex_pattern": r"#### (\-?[0-9\.\,]+)"},
                {"function": "remove_whitespace"}, {"function": "take_first"}]},
            {"name": "low", "filter": [{"function": "lowercase"}, {"function": "take_first"}]}],
        "metric_list": [{"metric": "exact_match", "ignore_punctuation": True, "ignore_case": True}]},
        {**TRAIN, "limit": 200}),
    "majority_vote": (GSM, {
        **WRITE, "training_split": "train", "num_fewshot": 2, "repeats": 3, "doc_to_text": "{{question}}",
        "doc_to_target": '{{answer.split("####")[-1].strip()|regex_replace(",", "")}}',
        "gen_prefix": "Let us see:",
        "filter_list": [
            {"name": "maj", "filter": [
                {"function": "regex", "group_select": -1, "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)"},
                {"function": "majority_vote"}, {"function": "take_first"}]},
            {"name": "map", "filter": [
                {"function": "take_first_k", "k": 2},
                {"function": "map", "mapping_dict": {"a": "b"}, "default_value": "z"},
                {"function": "take_first"}]}],
        "metric_list": [{"metric": "exact_match", "regexes_to_ignore": [","]}]}, {**TRAIN, "limit": 150}),
    "rolling_template": ("triviaqa_sub.jsonl.zst", {
        "test_split": "test", "output_type": "loglikelihood_rolling", "doc_to_text": "",
        "doc_to_target": '{{context}} {{answer}}  {{aliases|join(", ")}}'}, {"limit": 300}),
    "many_shots": ("triviaqa_sub.jsonl.zst", {
        "test_split": "test", **SAME, "num_fewshot": 25, "output_type": "loglikelihood",
        "doc_to_text": "{{context}}", "doc_to_target": " {{answer}}", "target_delimiter": ""}, {"limit": 200}),
    "shots_of_another_form": ("mmlu_test.jsonl.zst", {
        **CHOICE, "fewshot_split": "train", "num_fewshot": 3,
        "fewshot_config": {"sampler": "first_n", "doc_to_text": "Q {{question}}",
                           "fewshot_delimiter": "\n--\n", "target_delimiter": " => "},
        "description": 'About {{subject|replace("_"," ")|title}}.\n\n',
        "doc_to_text": '{{question.strip()}}\n{%- for c in choices %}\n{{ ["A","B","C","D"][loop.index0] }}. '
        "{{c}}\n{%- endfor %}\nAnswer:", "doc_to_choice": ["A", "B", "C", "D"],
        "doc_to_target": "{{['A','B','C','D'][answer]}}"},
        {"fewshot": "mmlu_dev.jsonl.zst", "where": {"subject": "virology"}}),
    "printed_lists": ("agieval_en.jsonl.zst", {
        **CHOICE, "doc_to_text": "{% if passage %}{{passage}}\n{% endif %}Q: {{question}} {{options}} {{passage}}",
        "doc_to_choice": '{{ ["A", "B", "C", "D", "E"][:options|length] }}',
        "doc_to_target": '{{ "ABCDE".index(label) }}', "metric_list": [{"metric": "acc"}]},
        {"where": {"task": "sat-math"}}),
    "chinese_cloze": ("cmrc2018_dev.jsonl.zst", {
        "test_split": "test", "output_type": "loglikelihood", "doc_to_text": "{{context[-20:]}}{{question}} ",
        "doc_to_target": "{{answers[0]}}"}, {"limit": 100}),
    "validation_only": ("openbook_qa.jsonl.zst", {
        "validation_split": "test", "output_type": "multiple_choice", "num_fewshot": 4,
        "doc_to_text": "{{query}}", "doc_to_choice": "choices", "doc_to_target": "gold"}, {"limit": 100}),
}


def main():
    folder = OUT / "eval"
    folder.mkdir(parents=True, exist_ok=True)
    for file in DATA.glob("*.zst"):
        link = folder / file.name
        if not link.exists() and file.name != "golden_lm_eval.jsonl.zst":
            link.symlink_to(file)
    records = [record(name, source, definition, inputs) for name, (source, definition, inputs) in VARIANTS.items()]
    text = "".join(json.dumps(r, default=float) + "\n" for r in records)
    golden = folder / "golden_lm_eval.jsonl.zst"
    subprocess.run(["zstd", "-qf", "-o", golden], input=text.encode(), check=True)
    inputs = {name: {"test": source, **inputs} for name, (source, _, inputs) in VARIANTS.items()}
    (folder / "golden_lm_eval_inputs.json").write_text(json.dumps(inputs, indent=1))


if __name__ == "__main__":
    main()
