# Purpose: Figure 8, recall of the relevant policy entries among those that BM25 retrieves.
# Inputs:  <out>/interim/rows/
# Outputs: <out>/metrics/retrieval/<dataset>.json, <out>/figures/figure8.{pdf,png,csv}


rule evaluate_retrieval:
    """Recall of relevant policy entries at each k on one data set."""
    input:
        rows="<out>/interim/rows/{dataset}.jsonl",
        settings="<out>/config/metrics.yaml",
        augment="<out>/config/augment.yaml",
    output:
        "<out>/metrics/retrieval/{dataset}.json",
    log:
        "<out>/logs/evaluate_retrieval/{dataset}.log",
    conda:
        "../envs/core.yaml"
    params:
        seed=S.seed,
        scale=S.scale,
        code=code_digest(
            "bench/retrieval.py", "bench/dynabench.py", "bench/bootstrap.py", "bench/metrics.py", "configs/taxonomies"
        ),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm evaluate-retrieval --rows {input.rows:q} --settings {input.settings:q} \
            --augment-settings {input.augment:q} --dataset {wildcards.dataset} --scale {params.scale} \
            --seed {params.seed} --output {output:q}
        """


rule plot_retrieval:
    """Figure 8: recall of the relevant policy entries against k, the published points alone where none was measured."""
    input:
        expand("<out>/metrics/retrieval/{dataset}.json", dataset=RETRIEVED),
    output:
        report(
            multiext("<out>/figures/figure8", ".pdf", ".png", ".csv"),
            caption="../workflow/report/figure8.rst",
            category="Figures",
        ),
    log:
        "<out>/logs/plot_retrieval.log",
    conda:
        "../envs/core.yaml"
    params:
        metrics=lambda w, input: f"--metrics {' '.join(input)}" if input else "",
        prefix=f"{S.outdir}/figures/figure8",
        code=REPORT_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm figure --figure figure8 {params.metrics} --output-prefix {params.prefix}
        """
