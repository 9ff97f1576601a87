# Purpose: settings of the run, their slices as files, tables of data sets and models, code digests.
# Inputs:  config/config.yaml, config/scales/<scale>.yaml, --config overrides, config/variants.yaml, config/*.tsv
# Outputs: <outdir>/config/<stage>.yaml, <outdir>/config/train/<variant>.yaml, rewritten only when their content changes
import os
import re
import sys
from importlib.util import find_spec

from csrm.bench.baselines import BASELINES
from csrm.bench.guards.table import load_guards, weights_at_hand
from csrm.bench.guards.tasks import task_of
from csrm.bench.registry import get_benchmark, load_benchmarks, not_at_hand, own_sets, without_split
from csrm.cost import price, processes
from csrm.data.pin import raw_pin
from csrm.data.sources import input_paths
from csrm.data.tables import at_hand, in_place, load_datasets, load_files, load_models, raw_id
from csrm.dry_run import is_dry_run, restore_at_exit
from csrm.names import check_names
from csrm.overrides import report_command, share
from csrm.provenance import code_digest
from csrm.report.literature import in_literature
from csrm.settings import load, write_slices
from csrm.settings.differences import differences
from csrm.speed import taken_speed
from csrm.targets import check_targets
from csrm.variants import (
    draw_of,
    draw_slice,
    load_variants,
    margin_variants,
    variant_draws,
    variant_settings,
    variant_slice,
    write_variant_slices,
)
from csrm.work import planned_work

os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# glibc keeps freed blocks: scoring asks for the same large ones again and again, a quarter of its time was page faults.
os.environ.setdefault("MALLOC_MMAP_MAX_", "0")
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(1 << 34))
# oneDNN keeps a kernel for every row length that it meets: 11 MB a training step if nothing bounds it.
os.environ.setdefault("LRU_CACHE_CAPACITY", "16")
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")
# Snakemake imports pandas, where it finds it, to see whether parameters are data frames: a third of what an idle run costs.
# Parameters here are plain values; `None` says that there is no pandas, in this process only.
sys.modules.setdefault("pandas", None)

# Two model jobs side by side, half of the cores each: on two cores two trainings pass 286 tokens a second together, one alone
# 240, and loading a model or reading text uses one core anyway.
MODEL_THREADS = max(1, (workflow.resource_settings.cores or 2) // 2)

S = load("config", config)
share(config)
VARIANTS = variant_settings(load_variants("config"), S.train)
DRAWS = variant_draws(load_variants("config"), S.train, S.augment)
check_names(S, VARIANTS, "config")
DATASETS = load_datasets("config")
MODELS = load_models("config")
BENCHMARKS = {k: b for k, b in load_benchmarks("config").items() if k in S.score.benchmarks}
if not S.data.response_pairs:
    BENCHMARKS = {name: without_split(benchmark) for name, benchmark in BENCHMARKS.items()}
# Benchmarks whose data nothing can fetch are left out by name where data_root does not hold them.
for name, missing in {k: not_at_hand(b, DATASETS, S.data_root) for k, b in BENCHMARKS.items()}.items():
    if missing:
        print(f"benchmark {name} is left out: data_root holds no {', '.join(missing)}", file=sys.stderr)
        del BENCHMARKS[name]
JUDGE_SETS = [name for name in S.align.judge_data if at_hand(DATASETS[name], S.data_root)]
for name in sorted({*S.align.judge_data} - {*JUDGE_SETS}):
    print(f"the judge is not measured on {name}: data_root does not hold it", file=sys.stderr)
RETRIEVED = [name for name in S.score.retrieval if at_hand(DATASETS[name], S.data_root)]
for name in sorted({*S.score.retrieval} - {*RETRIEVED}):
    print(f"retrieval is not measured on {name}: data_root does not hold it", file=sys.stderr)
# Items are also made of the validation split, to calibrate on; it is no result.
# The clause probe (Table 7) has a table of its own.
ITEM_SETS = {
    **BENCHMARKS,
    **{name: get_benchmark("config", name) for name in (S.score.validation, S.score.clauses) if name},
}
MARGINS = margin_variants(load_variants("config"), S.train)
REFERENCE = S.train.variants[0]
REFERENCE_DRAW = draw_of(REFERENCE, S.train, DRAWS)
SCORED = [*VARIANTS, *S.score.models]
LANGUAGE_MODELS = [*VARIANTS, "zero-shot"]
# Reward models of helpfulness (section 4.4), and the data sets that they are fitted to and tested on.
HELPERS = S.helpfulness.models()
HELPFUL_SETS = [d for d in S.helpfulness.data if at_hand(DATASETS[d], S.data_root)]
if HELPERS and (absent := sorted({*S.helpfulness.data} - {*HELPFUL_SETS})):
    print(f"helpfulness data {', '.join(absent)} are left out: data_root does not hold them", file=sys.stderr)
# Models whose clauses are probed.
PROBED = [name for name in (REFERENCE, "zero-shot") if name in SCORED]
# Raw models that the zero-shot scorer and the variants start from.
BACKBONES = sorted({raw for t in (S.train, *VARIANTS.values()) if (raw := MODELS[t.backbone].raw)})
GUARDS = load_guards("config")
# Guards that are scored, or reward a policy.
USED_GUARDS = [name for name in GUARDS if name in {*SCORED, *S.align.rewards, *S.align.swept}]
if USED_GUARDS and S.score.guards is None:
    raise ValueError(
        f"score.models, align.rewards or align.swept name guards ({', '.join(USED_GUARDS)}): set score.guards to the folder "
        "that holds their models"
    )
# Guards are planned without their weights, which nothing fetches; their jobs stop with the same advice.
if absent := [name for name in USED_GUARDS if not weights_at_hand(S.score.guards, name)]:
    state = "holds no weights of" if os.path.isdir(S.score.guards) else "is no folder: it should hold the weights of"
    models = ", ".join(f"{name} ({GUARDS[name].model})" for name in absent)
    print(f"score.guards {S.score.guards} {state} {models}, each in a folder of the guard's id", file=sys.stderr)
# A dry run plans with its settings and leaves those of the last run behind, which audits hash.
if is_dry_run(sys.argv):
    restore_at_exit(S.outdir)
write_slices(S)
write_variant_slices(S.outdir, VARIANTS, DRAWS)
LABELLED = [k for k, b in BENCHMARKS.items() if b.positive_class != "none" and b.builder != "pseudo-response"]
ENCODER = "data/raw/minilm" if S.encoder == "minilm" else S.encoder
ENCODER_FILES = [f"{ENCODER}/manifest.json"] if S.encoder == "minilm" else []
# Data sets whose prompts are left out of training, whatever `score.benchmarks` names: a benchmark reruns nothing before it.
EXCLUDED_SETS = own_sets(
    b for k, b in load_benchmarks("config").items() if k in S.data.exclude and not not_at_hand(b, DATASETS, S.data_root)
)
# Benchmarks of further data sets, which drop the prompts that were trained on.
LATER = [k for k, b in ITEM_SETS.items() if {*own_sets([b])} - {*EXCLUDED_SETS}]
if LATER and workflow.is_main_process:
    print(f"{', '.join(LATER)}: not in data.exclude, rows with a prompt of training are dropped", file=sys.stderr)
OVERREFUSAL = [k for k, b in BENCHMARKS.items() if b.builder == "pseudo-response"]
TABLES = [
    "licences",
    "table1",
    "results",
    "comparisons",
    "subsets",
    "summary",
    "table2",
    "table3",
    *["table4"] * bool(OVERREFUSAL),
    "table5",
    "pareto",
    "capability",
]
if S.capability.tasks and not find_spec("lm_eval") and not workflow.deployment_settings.deployment_method:
    raise ValueError(
        f"capability.tasks {S.capability.tasks} need lm-evaluation-harness, which is not installed: "
        "pip install -c constraints.txt -e '.[tasks]', or run with --sdm conda"
    )
# Draws whose configurations some variant trains on.
CCA_DRAWS = sorted({draw_of(name, S.train, DRAWS) for name, variant in VARIANTS.items() if variant.cca})
TABLES += ["augmentation"] * bool(CCA_DRAWS)
TABLES += ["calibration"] * bool(S.score.calibrated)
TABLES += ["table6"] * bool(MARGINS)
TABLES += ["table7"] * bool(S.score.clauses)
TABLES += ["literature"] * bool(in_literature(BENCHMARKS))
TABLES += ["helpfulness"] * bool(HELPERS)
TABLES += ["seeds"] * bool(S.train.seeds)
TABLES += ["severity"] * any(b.builder == "severity" for b in BENCHMARKS.values())
TABLES += ["cosa"] * S.cosa.table
TABLES += ["proposers"] * bool(S.augment.compared)
TABLES += ["judge"] * bool(JUDGE_SETS)
TABLES += ["retrieval"] * bool(RETRIEVED)
# Benchmarks whose configurations ask for severity thresholds.
STRICT = [b.id for b in BENCHMARKS.values() if b.builder in ("strictness", "threshold") and b.taxonomy != "beavertails"]
# Models that differ in the number of categories that CCA draws from.
SIZED = [v for v, draw in DRAWS.items() if v in S.train.variants and draw.bank_size != DRAWS[REFERENCE_DRAW].bank_size]
VARIETY = [name for name, (v, _) in S.train.names().items() if v in (REFERENCE, *SIZED)]
FIGURES = [
    "configurability",
    *["variety"] * bool(SIZED),
    "training",
    *["strictness"] * bool(STRICT),
    "figure3",
    "figure4",
    "figure5",
    "figure8",
    *["overoptimisation"] * bool(S.align.checkpoints),
]
# What the run uses, for its table of licences: role -> ids of config/{datasets,models,guards}.tsv, or names of models.
USED = {
    "training-data": [{"topics": "topics-prompts"}.get(d, d) for d in (*S.data.train, *S.data.response_pairs)],
    "benchmark": own_sets(BENCHMARKS.values()),
    "helpfulness-data": HELPFUL_SETS if HELPERS else [],
    "judge-data": JUDGE_SETS,
    "retrieval-data": RETRIEVED,
    "cosalign-data": [*S.cosa.data, S.cosa.test_data] if S.cosa.table and S.cosa.taxonomy == "cosalign" else [],
    "prompt-data": [
        *[S.align.prompt_data] * (S.align.prompts == "data"),
        *[S.align.test_data] * bool(S.align.test_data),
    ],
    "backbone": sorted({t.backbone for t in (S.train, *VARIANTS.values())}),
    "policy": sorted({S.align.policy, *[S.cosa.policy] * S.cosa.table}),
    "helpfulness-model": [{"trained": S.helpfulness.backbone}.get(name, name) for name in HELPERS],
    "encoder": ["minilm"] if S.encoder == "minilm" else [],
    "guard": USED_GUARDS,
    "language-model": sorted({llm.model for llm in (S.augment.llm, S.align.llm, S.cosa.llm) if llm.model}),
}
# How policies are trained, and what those kept before the end of it are called.
ALIGNED = [name for algorithm in S.align.algorithms for name in (algorithm, *S.align.kept(algorithm))]


def either(names):
    """Pattern of exactly these names."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    raw="|".join(sorted({m.raw for m in [*DATASETS.values(), *MODELS.values()] if m.raw})),
    dataset="|".join(DATASETS),
    benchmark="|".join(ITEM_SETS),
    variant=either(VARIANTS),
    draw=either(DRAWS),
    model=either(SCORED),
    other=either(SCORED),
    lm=either(LANGUAGE_MODELS),
    baseline="|".join(BASELINES),
    guard=either(USED_GUARDS),
    config_id=either(S.align.runs()),
    algorithm=either(ALIGNED),
    part="train|test",
    chain=either(S.cosa.runs()),
    reward=either([*S.align.rewards, *S.align.swept]),
    helper=either(["proxy", *HELPERS]),
    stage="before|after",
    method="[a-z0-9-]+",


def backbone(model_id):
    """Folder of a model: converted or made under <out>, or as fetched."""
    model = MODELS[model_id]
    return f"data/raw/{model.raw}" if model.format in ("folder", "reward") else f"{S.outdir}/models/backbone/{model_id}"


def guard_weights(guard_id):
    """What a guard is loaded from; without it the job says what to put where."""
    at_hand = weights_at_hand(S.score.guards, guard_id)
    return [f"{S.score.guards}/{guard_id}/config.json"] if at_hand else []


def scorer(model_id):
    """Folder that a scored language model is loaded from."""
    return backbone(S.train.backbone) if model_id == "zero-shot" else f"{S.outdir}/models/csrm/{model_id}"


def train_slice(model_id):
    """Training settings of a scored model: its variant's, or the run's for the zero-shot backbone and baselines."""
    return variant_slice(S.outdir, model_id) if model_id in VARIANTS else f"{S.outdir}/config/train.yaml"


def raw_inputs(dataset_id):
    """Raw files of a data set: the fetched folder's manifest, or files in place, relative where the checkout has them.

    Snakemake records these paths: absolute ones would make a moved or copied checkout run again.
    """
    raw = raw_id(DATASETS[dataset_id], S.data_root)
    if raw:
        return [f"data/raw/{raw}/manifest.json"]
    here, found = Path.cwd(), input_paths(DATASETS[dataset_id], Path("config"), None, Path(S.data_root or "."))
    return [str(p.relative_to(here) if p.is_relative_to(here) else p) for p in found]


def benchmark_rows(benchmark_id):
    """Files of rows that a benchmark is built from."""
    places = {name: f"{S.outdir}/interim/split/{name}.jsonl" for name in ("test", "validation")}
    places["pairs"] = f"{S.outdir}/interim/pairs/test.jsonl"
    return [places.get(r, f"{S.outdir}/interim/rows/{r}.jsonl") for r in ITEM_SETS[benchmark_id].rows]


def seen_splits():
    """What models are trained on before augmentation, or calibrated on."""
    pairs = [f"{S.outdir}/interim/pairs/train.jsonl"] * PAIRS
    return [f"{S.outdir}/interim/split/train.jsonl", *pairs, f"{S.outdir}/interim/split/validation.jsonl"]


def place_option(dataset_id):
    """Where a data set lies: its fetched folder, or data_root; nothing where the project ships it."""
    raw = raw_id(DATASETS[dataset_id], S.data_root)
    if raw:
        return f"--raw data/raw/{raw}"
    return f"--data-root {S.data_root}" if in_place(DATASETS[dataset_id], S.data_root) else ""


PAIRS = bool(S.data.response_pairs)
TRAIN_SPLITS = ["<out>/interim/split/train.jsonl", *["<out>/interim/pairs/train.jsonl"] * PAIRS]
HELD_BACK = [
    "<out>/interim/split/test.jsonl",
    "<out>/interim/split/validation.jsonl",
    *["<out>/interim/pairs/test.jsonl"] * PAIRS,
    *expand("<out>/interim/rows/{dataset}.jsonl", dataset=EXCLUDED_SETS),
]
