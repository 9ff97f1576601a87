# Purpose: tables, each from the metrics it shows.
# Inputs:  <out>/metrics/, <out>/augmented/<draw>/, <out>/interim/, config/*.tsv
# Outputs: <out>/tables/<table>.{csv,md}
REPORT_CODE = code_digest("report", "bench/registry.py", "align/hypervolume.py")
EVALUATIONS = expand("<out>/metrics/{model}/{benchmark}.json", model=SCORED, benchmark=BENCHMARKS)
COMPARISONS = expand(
    "<out>/metrics/compare/{model}/{other}/{benchmark}.json", model=REFERENCE, other=SCORED[1:], benchmark=BENCHMARKS
)
CALIBRATIONS = expand(
    "<out>/metrics/calibration/{model}/{benchmark}.json", model=S.score.calibrated, benchmark=LABELLED
)
ALIGNMENTS = expand(
    "<out>/metrics/align/{algorithm}/{reward}/{config_id}.json",
    algorithm=S.align.algorithms,
    reward=S.align.rewards,
    config_id=S.align.configs,
)
# The same policies under configurations that none was trained on.
TRANSFERS = expand(
    "<out>/metrics/align/{algorithm}/{reward}@{config_id}/{tested}.json",
    algorithm=S.align.algorithms,
    reward=S.align.rewards,
    config_id=S.align.configs,
    tested=S.align.tested,
)
# The first reward's policies against those of each other, under the same configurations.
POLICIES = expand(
    "<out>/metrics/align/compare/{algorithm}/{reward}/{other}/{config_id}.json",
    algorithm=S.align.algorithms,
    reward=S.align.rewards[0],
    other=S.align.rewards[1:],
    config_id=S.align.configs,
)
POLICIES += expand(
    "<out>/metrics/align/compare/{algorithm}/{reward}@{config_id}/{other}/{tested}.json",
    algorithm=S.align.algorithms,
    reward=S.align.rewards[0],
    other=S.align.rewards[1:],
    config_id=S.align.configs,
    tested=S.align.tested,
)
SWEEPS = expand("<out>/metrics/pareto/{reward}/{config_id}.json", reward=S.align.swept, config_id=S.align.configs)
CAPABILITY = [path.replace("/metrics/align/", "/metrics/capability/") for path in ALIGNMENTS]
MARGIN_EVALUATIONS = expand("<out>/metrics/{model}/{benchmark}.json", model=MARGINS, benchmark=LABELLED)
MARGIN_SLICES = [variant_slice(S.outdir, name) for name in MARGINS]
CLAUSES = expand("<out>/metrics/clauses/{lm}/{benchmark}.json", lm=PROBED, benchmark=S.score.clauses or [])
CHANGED = differences(S, "config")
TABLE_METRICS = {
    "augmentation": expand("<out>/augmented/{draw}/cca_statistics.json", draw=CCA_DRAWS),
    "comparisons": COMPARISONS,
    "table5": [*ALIGNMENTS, *TRANSFERS, *POLICIES],
    "pareto": SWEEPS,
    "judge": ["<out>/metrics/judge.json"],
    "retrieval": expand("<out>/metrics/retrieval/{dataset}.json", dataset=RETRIEVED),
    "capability": CAPABILITY,
    "table6": MARGIN_EVALUATIONS,
    "table7": CLAUSES,
    "calibration": CALIBRATIONS,
    "seeds": expand("<out>/metrics/seeds/{variant}/{benchmark}.json", variant=S.train.variants, benchmark=BENCHMARKS),
    "proposers": ["<out>/metrics/proposers.json"],
    "cosa": ["<out>/metrics/cosa.json"],
    "helpfulness": expand("<out>/metrics/helpfulness/{helper}.json", helper=HELPERS),
}
# Data sets of Table 1 that are evaluated on; of CoSApien the labelled rows where there are some.
SETS = own_sets(BENCHMARKS.values())
EVALUATED = sorted({"dynabench", "cosapien-judged"} & {*SETS})
EVALUATED += ["cosapien-prompts"] * ("cosapien-prompts" in SETS and "cosapien-judged" not in EVALUATED)


rule count_data:
    """Table 1: training examples by source and data set, published counts beside them, with licences."""
    input:
        groups=expand("<out>/augmented/{draw}/{source}.jsonl", draw=REFERENCE_DRAW, source=SOURCES),
        rows=TRAIN_SPLITS,
        evaluation=expand("<out>/interim/rows/{dataset}.jsonl", dataset=EVALUATED),
        datasets=ancient("config/datasets.tsv"),
    output:
        report("<out>/tables/table1.csv", caption="../workflow/report/table1.rst", category="Tables"),
        "<out>/tables/table1.md",
    log:
        "<out>/logs/count_data.log",
    conda:
        "../envs/core.yaml"
    params:
        scale=S.scale,
        evaluation=lambda w, input: f"--evaluation {' '.join(input.evaluation)}" if input.evaluation else "",
        prefix=f"{S.outdir}/tables/table1",
        code=REPORT_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm table --table table1 --groups {input.groups:q} --rows {input.rows:q} {params.evaluation} \
            --scale {params.scale} --output-prefix {params.prefix}
        """


rule list_licences:
    """Licence and source of every data set, model and guard that the run uses."""
    input:
        datasets="config/datasets.tsv",
        models="config/models.tsv",
        guards="config/guards.tsv",
    output:
        report("<out>/tables/licences.csv", caption="../workflow/report/licences.rst", category="Tables"),
        "<out>/tables/licences.md",
    log:
        "<out>/logs/list_licences.log",
    conda:
        "../envs/core.yaml"
    params:
        used=[f"{role}={name}" for role, names in USED.items() for name in names],
        scale=S.scale,
        prefix=f"{S.outdir}/tables/licences",
        code=REPORT_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm table --table licences --used {params.used:q} --scale {params.scale} --output-prefix {params.prefix}
        """


rule build_table:
    """One table as CSV and Markdown: published and measured cells side by side, each tagged."""
    input:
        metrics=lambda w: TABLE_METRICS.get(w.table, EVALUATIONS),
        slices=lambda w: MARGIN_SLICES if w.table == "table6" else [],
        benchmarks=ancient("config/benchmarks.tsv"),
    output:
        report("<out>/tables/{table}.csv", caption="../workflow/report/table.rst", category="Tables"),
        "<out>/tables/{table}.md",
    log:
        "<out>/logs/build_table/{table}.log",
    wildcard_constraints:
        table="|".join({*TABLES, "cosa"} - {"table1", "licences"}),
    conda:
        "../envs/core.yaml"
    params:
        scale=S.scale,
        prefix=lambda w: f"{S.outdir}/tables/{w.table}",
        slices=lambda w, input: f"--variant-settings {' '.join(input.slices)}" if input.slices else "",
        changed=f"--changed {' '.join(CHANGED)}" if CHANGED else "",
        code=REPORT_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm table --table {wildcards.table} --metrics {input.metrics:q} {params.slices} --scale {params.scale} \
            {params.changed} --output-prefix {params.prefix}
        """
