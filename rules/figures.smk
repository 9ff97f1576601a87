# Purpose: figures, each from the metrics it shows.
# Inputs:  <out>/metrics/, <out>/items/, <out>/scores/, <out>/augmented/<draw>/, <out>/models/csrm/*/log.jsonl
# Outputs: <out>/figures/<figure>.{pdf,png,csv}
CURVES = [path.replace("/metrics/align/", "/metrics/checkpoints/") for path in ALIGNMENTS]
# Figure 5 is drawn from CoSApien as the paper's, else from the run's first labelled benchmark; no further seeds.
RELIABLE = sorted((k for k in S.score.benchmarks if k in LABELLED), key=lambda k: k != "cosapien")[:1]
DRAWN = [*S.train.variants, "zero-shot", *[name for name in SCORED if name in GUARDS]]


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
        scale=S.scale,
        prefix=f"{S.outdir}/figures/training",
        code=REPORT_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm figure --figure training --logs {params.logs:q} --scale {params.scale} --output-prefix {params.prefix}
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
        scale=S.scale,
        seed=S.seed,
        prefix=f"{S.outdir}/figures/strictness",
        code=REPORT_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm figure --figure strictness --items {input.asked:q} --scores {input.scores:q} \
            --settings {input.settings:q} --scale {params.scale} --seed {params.seed} \
            --output-prefix {params.prefix}
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
        scale=S.scale,
        seed=S.seed,
        prefix=f"{S.outdir}/figures/figure3",
        code=REPORT_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm figure --figure figure3 --statistics {input.statistics:q} --items {input.asked:q} \
            --scores {input.scores:q} --settings {input.settings:q} --scale {params.scale} \
            --seed {params.seed} --output-prefix {params.prefix}
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
    """Figure 5: reliability diagrams with smECE on CoSApien, else the first labelled benchmark."""
    input:
        asked=expand("<out>/items/{benchmark}.jsonl", benchmark=RELIABLE),
        scores=expand("<out>/scores/{model}/{benchmark}.jsonl", model=DRAWN, benchmark=RELIABLE),
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
        scale=S.scale,
        seed=S.seed,
        prefix=f"{S.outdir}/figures/figure5",
        code=REPORT_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm figure --figure figure5 --items {input.asked:q} --scores {input.scores:q} \
            --settings {input.settings:q} --scale {params.scale} --seed {params.seed} \
            --output-prefix {params.prefix}
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
