# Purpose: tables and figures, each from the metrics it shows.
# Inputs:  <out>/metrics/, <out>/items/, <out>/scores/, <out>/augmented/<draw>/, <out>/models/csrm/*/log.jsonl
# Outputs: <out>/tables/<table>.{csv,md}, <out>/figures/<figure>.{pdf,png,csv}
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
# The first reward's policies against those of each other.
POLICIES = expand(
    "<out>/metrics/align/compare/{algorithm}/{reward}/{other}/{config_id}.json",
    algorithm=S.align.algorithms,
    reward=S.align.rewards[0],
    other=S.align.rewards[1:],
    config_id=S.align.configs,
)
SWEEPS = expand("<out>/metrics/pareto/{reward}/{config_id}.json", reward=S.align.swept, config_id=S.align.configs)
CURVES = [path.replace("/metrics/align/", "/metrics/checkpoints/") for path in ALIGNMENTS]
CAPABILITY = [path.replace("/metrics/align/", "/metrics/capability/") for path in ALIGNMENTS]
CLAUSES = expand("<out>/metrics/clauses/{lm}/{benchmark}.json", lm=PROBED, benchmark=S.score.clauses or [])
TABLE_METRICS = {
    "augmentation": expand("<out>/augmented/{draw}/cca_statistics.json", draw=CCA_DRAWS),
    "comparisons": COMPARISONS,
    "table5": [*ALIGNMENTS, *TRANSFERS, *POLICIES],
    "pareto": SWEEPS,
    "judge": ["<out>/metrics/judge.json"],
    "capability": CAPABILITY,
    "table7": CLAUSES,
    "calibration": CALIBRATIONS,
    "seeds": expand("<out>/metrics/seeds/{variant}/{benchmark}.json", variant=S.train.variants, benchmark=BENCHMARKS),
    "proposers": ["<out>/metrics/proposers.json"],
    "cosa": ["<out>/metrics/cosa.json"],
    "helpfulness": expand("<out>/metrics/helpfulness/{helper}.json", helper=HELPERS),
}
# Data sets of Table 1 that are evaluated on; of CoSApien the labelled rows where there are some.
EVALUATED = sorted({"dynabench", "cosapien-judged"} & {*BENCHMARK_SETS})
EVALUATED += ["cosapien-prompts"] * ("cosapien-prompts" in BENCHMARK_SETS and "cosapien-judged" not in EVALUATED)
# The first labelled benchmark of the run, which Figure 5 is drawn from.
FIRST_LABELLED = [k for k in S.score.benchmarks if k in LABELLED][:1]


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


rule build_table:
    """One table as CSV and Markdown: published and measured cells side by side, each tagged."""
    input:
        metrics=lambda w: TABLE_METRICS.get(w.table, EVALUATIONS),
        benchmarks=ancient("config/benchmarks.tsv"),
    output:
        report("<out>/tables/{table}.csv", caption="../workflow/report/table.rst", category="Tables"),
        "<out>/tables/{table}.md",
    log:
        "<out>/logs/build_table/{table}.log",
    wildcard_constraints:
        table="|".join({*TABLES, "cosa"} - {"table1"}),
    conda:
        "../envs/core.yaml"
    params:
        scale=S.scale,
        prefix=lambda w: f"{S.outdir}/tables/{w.table}",
        code=REPORT_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm table --table {wildcards.table} --metrics {input.metrics:q} --scale {params.scale} \
            --output-prefix {params.prefix}
        """


rule plot_configurability:
    """AUROC and pair accuracy of every model on seen and unseen categories."""
    input:
        EVALUATIONS,
    output:
        report(
            multiext("<out>/figures/configurability", ".pdf", ".png", ".csv"),
            caption="../workflow/report/configurability.rst",
            category="Figures",
        ),
    log:
        "<out>/logs/plot_configurability.log",
    conda:
        "../envs/core.yaml"
    params:
        prefix=f"{S.outdir}/figures/configurability",
        code=REPORT_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm figure --figure configurability --metrics {input:q} --output-prefix {params.prefix}
        """


rule plot_variety:
    """AUROC and pair accuracy against the number of categories that CCA draws from."""
    input:
        metrics=expand("<out>/metrics/{model}/{benchmark}.json", model=VARIETY, benchmark=BENCHMARKS),
        statistics=expand("<out>/augmented/{draw}/cca_statistics.json", draw=[REFERENCE_DRAW, *SIZED]),
    output:
        report(
            multiext("<out>/figures/variety", ".pdf", ".png", ".csv"),
            caption="../workflow/report/variety.rst",
            category="Figures",
        ),
    log:
        "<out>/logs/plot_variety.log",
    conda:
        "../envs/core.yaml"
    params:
        prefix=f"{S.outdir}/figures/variety",
        code=REPORT_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm figure --figure variety --metrics {input.metrics:q} --statistics {input.statistics:q} \
            --output-prefix {params.prefix}
        """


rule plot_training:
    """Loss curves of the variants."""
    input:
        expand("<out>/models/csrm/{variant}/manifest.json", variant=VARIANTS),
    output:
        report(
            multiext("<out>/figures/training", ".pdf", ".png", ".csv"),
            caption="../workflow/report/training.rst",
            category="Figures",
        ),
    log:
        "<out>/logs/plot_training.log",
    conda:
        "../envs/core.yaml"
    params:
        logs=expand("{out}/models/csrm/{variant}/log.jsonl", out=S.outdir, variant=VARIANTS),
        prefix=f"{S.outdir}/figures/training",
        code=REPORT_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm figure --figure training --logs {params.logs:q} --output-prefix {params.prefix}
        """


rule plot_strictness:
    """Reward as the severity threshold of the configuration rises."""
    input:
        asked=expand("<out>/items/{benchmark}.jsonl", benchmark=STRICT),
        scores=expand("<out>/scores/{model}/{benchmark}.jsonl", model=LANGUAGE_MODELS, benchmark=STRICT),
        settings="<out>/config/metrics.yaml",
    output:
        report(
            multiext("<out>/figures/strictness", ".pdf", ".png", ".csv"),
            caption="../workflow/report/strictness.rst",
            category="Figures",
        ),
    log:
        "<out>/logs/plot_strictness.log",
    conda:
        "../envs/core.yaml"
    params:
        seed=S.seed,
        prefix=f"{S.outdir}/figures/strictness",
        code=REPORT_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm figure --figure strictness --items {input.asked:q} --scores {input.scores:q} \
            --settings {input.settings:q} --seed {params.seed} --output-prefix {params.prefix}
        """


rule plot_recall:
    """Figure 3: recall of unsafe conversations as guidelines cover more of a category."""
    input:
        statistics=f"<out>/augmented/{REFERENCE_DRAW}/sa_statistics.json",
        asked=expand("<out>/items/{benchmark}.jsonl", benchmark=STRICT),
        scores=expand("<out>/scores/{model}/{benchmark}.jsonl", model=LANGUAGE_MODELS, benchmark=STRICT),
        settings="<out>/config/metrics.yaml",
    output:
        report(
            multiext("<out>/figures/figure3", ".pdf", ".png", ".csv"),
            caption="../workflow/report/figure3.rst",
            category="Figures",
        ),
    log:
        "<out>/logs/plot_recall.log",
    conda:
        "../envs/core.yaml"
    params:
        seed=S.seed,
        prefix=f"{S.outdir}/figures/figure3",
        code=REPORT_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm figure --figure figure3 --statistics {input.statistics:q} --items {input.asked:q} \
            --scores {input.scores:q} --settings {input.settings:q} --seed {params.seed} \
            --output-prefix {params.prefix}
        """


rule plot_pareto:
    """Figure 4: safety against helpfulness as the safety logits are shifted."""
    input:
        SWEEPS,
    output:
        report(
            multiext("<out>/figures/figure4", ".pdf", ".png", ".csv"),
            caption="../workflow/report/figure4.rst",
            category="Figures",
        ),
    log:
        "<out>/logs/plot_pareto.log",
    conda:
        "../envs/core.yaml"
    params:
        prefix=f"{S.outdir}/figures/figure4",
        code=REPORT_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm figure --figure figure4 --metrics {input:q} --output-prefix {params.prefix}
        """


rule plot_reliability:
    """Figure 5: reliability diagrams with smECE on the first labelled benchmark."""
    input:
        asked=expand("<out>/items/{benchmark}.jsonl", benchmark=FIRST_LABELLED),
        scores=expand("<out>/scores/{model}/{benchmark}.jsonl", model=LANGUAGE_MODELS, benchmark=FIRST_LABELLED),
        settings="<out>/config/metrics.yaml",
    output:
        report(
            multiext("<out>/figures/figure5", ".pdf", ".png", ".csv"),
            caption="../workflow/report/figure5.rst",
            category="Figures",
        ),
    log:
        "<out>/logs/plot_reliability.log",
    conda:
        "../envs/core.yaml"
    params:
        seed=S.seed,
        prefix=f"{S.outdir}/figures/figure5",
        code=REPORT_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm figure --figure figure5 --items {input.asked:q} --scores {input.scores:q} \
            --settings {input.settings:q} --seed {params.seed} --output-prefix {params.prefix}
        """


rule plot_checkpoints:
    """Over-optimisation: reward, safety, helpfulness and CoSA-Score along the training of each policy."""
    input:
        CURVES,
    output:
        report(
            multiext("<out>/figures/overoptimisation", ".pdf", ".png", ".csv"),
            caption="../workflow/report/overoptimisation.rst",
            category="Figures",
        ),
    log:
        "<out>/logs/plot_checkpoints.log",
    conda:
        "../envs/core.yaml"
    params:
        prefix=f"{S.outdir}/figures/overoptimisation",
        code=REPORT_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm figure --figure overoptimisation --metrics {input:q} --output-prefix {params.prefix}
        """
