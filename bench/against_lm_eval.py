"""lm-evaluation-harness (hf backend) against `neo eval` on one model folder.

    python3 -m venv venv && venv/bin/pip install lm-eval==0.4.13 torch==2.9.0 transformers accelerate
    venv/bin/python bench/against_lm_eval.py target/release/neo MODEL_FOLDER ../shared/data/eval

Both read the same task files, which this script writes. It compares every metric, every
log-likelihood, every generated text and every hash of document, prompt and target, and prints the
wall and processor time of both. The exit code tells whether accuracies are equal and
log-likelihoods within 1e-3.

    venv/bin/python bench/against_lm_eval.py target/release/neo MODEL_FOLDER ../shared/data/eval \\
        --set chat --apply-chat-template --system-instruction "Answer." [--fewshot-as-multiturn false]

puts the prompts of both into the folder's chat template.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHOICE = {
    "output_type": "multiple_choice",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}, {"metric": "acc_bytes"}],
}
MMLU = {
    **CHOICE,
    "fewshot_split": "train",
    "fewshot_config": {"sampler": "first_n"},
    "num_fewshot": 5,
    "doc_to_text": "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\n"
    "D. {{choices[3]}}\nAnswer:",
    "doc_to_choice": ["A", "B", "C", "D"],
    "doc_to_target": "answer",
}
SETS = {
    "equal": {
        "arc_easy": ("arc_easy", None, {
            **CHOICE, "doc_to_text": "{{query}}\nAnswer:", "doc_to_target": "gold",
            "doc_to_choice": "choices"}),
        "cmmlu_arts": ("cmmlu_test", ("cmmlu_dev", "arts"), MMLU),
        "winogrande": ("winogrande", None, {
            **CHOICE, "doc_to_text": "gold", "doc_to_choice": "context_options",
            "doc_to_target": "{{continuation}}"}),
        "trivia_cloze": ("triviaqa_sub", None, {
            "output_type": "loglikelihood", "doc_to_text": "{{context}}",
            "doc_to_target": " {{answer}}", "target_delimiter": "",
            "metric_list": [{"metric": "perplexity"}, {"metric": "acc"}]}),
        "rolling": ("math", None, {
            "output_type": "loglikelihood_rolling", "doc_to_text": "",
            "doc_to_target": "chain_of_thought"}),
        "generate": ("triviaqa_sub", None, {
            "output_type": "generate_until", "fewshot_split": "test", "num_fewshot": 2,
            "doc_to_text": "{{context}}", "doc_to_target": "aliases",
            "generation_kwargs": {"until": ["\n", "."], "do_sample": False, "max_gen_toks": 24},
            "metric_list": [{"metric": "exact_match", "ignore_case": True}]}),
    },
    "chat": {
        "arc_easy": ("arc_easy", None, {
            **CHOICE, "description": "Choose well.", "doc_to_text": "{{query}}",
            "doc_to_target": "gold", "doc_to_choice": "choices"}),
        "cmmlu_arts": ("cmmlu_test", ("cmmlu_dev", "arts"), {**MMLU, "num_fewshot": 2}),
        "begun": ("arc_easy", None, {
            **CHOICE, "fewshot_split": "test", "num_fewshot": 1, "gen_prefix": "I say",
            "doc_to_text": "{{query}}", "doc_to_target": "gold", "doc_to_choice": "choices"}),
        "winogrande": ("winogrande", None, {
            **CHOICE, "fewshot_split": "test", "num_fewshot": 2, "doc_to_text": "gold",
            "doc_to_choice": "context_options", "doc_to_target": "{{continuation}}"}),
        "generate": ("triviaqa_sub", None, {
            "output_type": "generate_until", "fewshot_split": "test", "num_fewshot": 2,
            "doc_to_text": "{{context}}", "doc_to_target": "aliases",
            "generation_kwargs": {"until": ["\n", "."], "do_sample": False, "max_gen_toks": 24},
            "metric_list": [{"metric": "exact_match", "ignore_case": True}]}),
    },
    "texts": {
        "corpus": ("gsm8k_test", None, {
            "output_type": "generate_until", "fewshot_split": "test", "num_fewshot": 1,
            "doc_to_text": "{{question}}", "doc_to_target": "{{answer}}",
            "generation_kwargs": {"until": ["\n\n"], "do_sample": False, "max_gen_toks": 48},
            "metric_list": [{"metric": m} for m in ("bleu", "chrf", "chrf++", "ter")]}),
    },
    "arc": {"arc_easy": ("arc_easy", None, {
        **CHOICE, "doc_to_text": "{{query}}\nAnswer:", "doc_to_target": "gold",
        "doc_to_choice": "choices"})},
    "mmlu": {f"mmlu_{s}": ("mmlu_test", ("mmlu_dev", s), MMLU) for s in (
        "abstract_algebra", "anatomy", "astronomy", "business_ethics", "clinical_knowledge",
        "college_biology", "college_chemistry", "college_computer_science", "college_mathematics",
        "college_medicine", "college_physics", "computer_security")},
}


def unpacked(data, name, folder, subject=None):
    """A plain JSON lines file of one subject, or of all rows."""
    path = folder / f"{name}-{subject or 'all'}.jsonl"
    if not path.exists():
        text = subprocess.run(["zstd", "-dc", data / f"{name}.jsonl.zst"], check=True, capture_output=True)
        lines = [line for line in text.stdout.decode().split("\n") if line]
        path.write_text("".join(
            line + "\n" for line in lines if subject is None or json.loads(line)["subject"] == subject))
    return str(path)


def task_files(sets, data, folder):
    """Writes one file for each task; JSON is YAML."""
    names = []
    for name, (source, shots, settings) in sets.items():
        files = {"test": unpacked(data, source, folder, shots and shots[1])}
        if shots:
            files["train"] = unpacked(data, shots[0], folder, shots[1])
        task = {"task": f"bench_{name}", "dataset_path": "json", "test_split": "test",
                "dataset_kwargs": {"data_files": files}, **settings}
        (folder / f"{task['task']}.yaml").write_text(json.dumps(task, ensure_ascii=False, indent=1))
        names.append(task["task"])
    return names


def with_neo(args, folder, names):
    results, samples = folder / "neo.json", folder / "neo.jsonl"
    command = [args.neo, "eval", "--model", args.model, "--out", results, "--samples", samples,
               "--tasks", ",".join(str(folder / f"{name}.yaml") for name in names), "--device", args.device]
    if args.limit:
        command += ["--limit", str(args.limit)]
    if args.apply_chat_template:
        command += ["--apply-chat-template", "--fewshot-as-multiturn", args.fewshot_as_multiturn]
    if args.system_instruction:
        command += ["--system-instruction", args.system_instruction]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    wall, after = time.time() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    logged = {}
    for line in map(json.loads, samples.open(encoding="utf-8")):
        logged.setdefault(line["task"], []).append(line)
    return json.loads(results.read_text())["results"], logged, wall, cpu


def with_lm_eval(args, folder, names):
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    import torch

    torch.set_num_threads(args.threads)
    model = HFLM(pretrained=str(args.model), device="cpu", dtype="float32", batch_size=args.batch_size)
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    started, before = time.time(), time.process_time()
    found = lm_eval.simple_evaluate(model=model, tasks=names, task_manager=manager, limit=args.limit,
                                    bootstrap_iters=1000, log_samples=True,
                                    system_instruction=args.system_instruction,
                                    apply_chat_template=args.apply_chat_template,
                                    fewshot_as_multiturn=args.apply_chat_template
                                    and args.fewshot_as_multiturn == "true")
    return found["results"], found["samples"], time.time() - started, time.process_time() - before


def flat(responses):
    """Numbers and texts of a sample's answers, however deep they are nested."""
    if isinstance(responses, (list, tuple)):
        return [x for inner in responses for x in flat(inner)]
    return [responses]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("neo", type=lambda p: Path(p).resolve())
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", choices=SETS, default="equal", dest="sets")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="auto")
    parser.add_argument("--apply-chat-template", action="store_true")
    parser.add_argument("--system-instruction")
    parser.add_argument("--fewshot-as-multiturn", choices=["true", "false"], default="true")
    args = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        names = task_files(SETS[args.sets], args.data, folder)
        ours, our_samples, our_wall, our_cpu = with_neo(args, folder, names)
        theirs, their_samples, their_wall, their_cpu = with_lm_eval(args, folder, names)
    is_equal = True
    hashes = ("doc_hash", "prompt_hash", "target_hash")
    for name in names:
        apart, n_texts, n_unequal, n_hashes = 0.0, 0, 0, 0
        for a, b in zip(our_samples[name], sorted(their_samples[name], key=lambda s: s["doc_id"]), strict=True):
            n_hashes += any(a[h] != b[h] for h in hashes)
            for x, y in zip(flat(a["resps"]), flat(b["resps"]), strict=True):
                if isinstance(x, str):
                    n_texts, n_unequal = n_texts + 1, n_unequal + (x != y)
                elif not isinstance(x, bool):
                    apart = max(apart, abs(x - float(y)))
        metrics = {k: (v, theirs[name][k]) for k, v in ours[name].items()
                   if "," in k and "_stderr" not in k and "_ci95" not in k}
        marks = {k: v for k, v in metrics.items() if k.startswith(("acc", "exact_match"))}
        others = {k: abs(a - b) / max(abs(b), 1e-9) for k, (a, b) in metrics.items() if k not in marks}
        is_equal &= all(a == b for a, b in marks.values()) and apart <= 1e-3 and n_unequal == 0
        is_equal &= n_hashes == 0
        print(f"{name}: {len(our_samples[name])} documents, unequal hashes {n_hashes}, "
              f"log-likelihoods at most {apart:.2e} apart, unequal texts {n_unequal} of {n_texts}, "
              + ", ".join(f"{k} {a:.4f} {'=' if a == b else '!='} {b:.4f}" for k, (a, b) in marks.items())
              + "".join(f", {k} {d:.1e} apart" for k, d in others.items()))
    print(f"neo {our_wall:.1f} s wall, {our_cpu:.1f} s processor; lm-eval {their_wall:.1f} s wall, "
          f"{their_cpu:.1f} s processor (imports and model loading left out, batch size "
          f"{args.batch_size}); ratios {their_wall / our_wall:.2f} and {their_cpu / our_cpu:.2f}")
    sys.exit(0 if is_equal else 1)


if __name__ == "__main__":
    main()
