# Purpose: benchmark items, raw scores (one row an item), metrics with intervals, paired comparisons.
# Inputs:  <out>/interim/, <out>/models/, config/benchmarks.tsv
# Outputs: <out>/items/, <out>/scores/<model>/, <out>/metrics/<model>/, <out>/metrics/compare/
BENCH_CODE = code_digest("bench", "augment", "configs")


rule build_benchmark:
    """Items of one benchmark."""
    input:
        rows=lambda w: benchmark_rows(w.benchmark),
        table=ancient("config/benchmarks.tsv"),
        settings="<out>/config/augment.yaml",
        data_settings="<out>/config/data.yaml",
        score_settings="<out>/config/score.yaml",
        encoder=ancient(ENCODER_FILES),
    output:
        "<out>/items/{benchmark}.jsonl",
    log:
        "<out>/logs/build_benchmark/{benchmark}.log",
    conda:
        "../envs/core.yaml"
    params:
        row=lambda w: BENCHMARKS[w.benchmark].model_dump_json(),
        encoder=ENCODER,
        seed=S.seed,
        code=BENCH_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm build-benchmark --benchmark {wildcards.benchmark} --rows {input.rows:q} \
            --settings {input.settings:q} --data-settings {input.data_settings:q} \
            --score-settings {input.score_settings:q} --seed {params.seed} --encoder {params.encoder} --output {output:q}
        """


rule score_benchmark:
    """Raw safe log-odds of every item by a language model."""
    input:
        asked="<out>/items/{benchmark}.jsonl",
        model=lambda w: f"{scorer(w.lm)}/manifest.json",
        settings="<out>/config/score.yaml",
        train_settings=lambda w: train_slice(w.lm),
    output:
        "<out>/scores/{lm}/{benchmark}.jsonl",
    log:
        "<out>/logs/score_benchmark/{lm}/{benchmark}.log",
    benchmark:
        "<out>/benchmarks/score_benchmark/{lm}/{benchmark}.tsv"
    conda:
        "../envs/core.yaml"
    threads: 2
    params:
        model=lambda w: scorer(w.lm),
        code=code_digest("model", "configs/render.py"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm score-items --model {params.model} --items {input.asked:q} --settings {input.settings:q} \
            --train-settings {input.train_settings:q} --output {output:q}
        """


rule score_baseline:
    """Scores of a baseline that is no language model."""
    input:
        asked="<out>/items/{benchmark}.jsonl",
        encoder=ancient(ENCODER_FILES),
    output:
        "<out>/scores/{baseline}/{benchmark}.jsonl",
    log:
        "<out>/logs/score_baseline/{baseline}/{benchmark}.log",
    conda:
        "../envs/core.yaml"
    params:
        encoder=ENCODER,
        code=code_digest("bench/baselines.py", "augment/encoder.py"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm score-baseline --baseline {wildcards.baseline} --items {input.asked:q} \
            --encoder {params.encoder} --output {output:q}
        """


rule evaluate_benchmark:
    """Metrics of one model on one benchmark, with prompt-clustered intervals and constant baselines."""
    input:
        asked="<out>/items/{benchmark}.jsonl",
        scores="<out>/scores/{model}/{benchmark}.jsonl",
        settings="<out>/config/metrics.yaml",
    output:
        "<out>/metrics/{model}/{benchmark}.json",
    log:
        "<out>/logs/evaluate_benchmark/{model}/{benchmark}.log",
    conda:
        "../envs/core.yaml"
    params:
        seed=S.seed,
        scale=S.scale,
        code=code_digest("bench/metrics.py", "bench/evaluate.py"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm evaluate --items {input.asked:q} --scores {input.scores:q} --settings {input.settings:q} \
            --seed {params.seed} --benchmark {wildcards.benchmark} --model {wildcards.model} \
            --scale {params.scale} --output {output:q}
        """


rule compare_models:
    """Paired differences between two models on the same items."""
    input:
        asked="<out>/items/{benchmark}.jsonl",
        first=f"<out>/scores/{REFERENCE}/{{benchmark}}.jsonl",
        second="<out>/scores/{model}/{benchmark}.jsonl",
        settings="<out>/config/metrics.yaml",
    output:
        "<out>/metrics/compare/{model}/{benchmark}.json",
    log:
        "<out>/logs/compare_models/{model}/{benchmark}.log",
    conda:
        "../envs/core.yaml"
    params:
        reference=REFERENCE,
        seed=S.seed,
        scale=S.scale,
        code=code_digest("bench/metrics.py", "bench/evaluate.py"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm compare --items {input.asked:q} --scores-a {input.first:q} --scores-b {input.second:q} \
            --settings {input.settings:q} --seed {params.seed} --benchmark {wildcards.benchmark} \
            --model-a {params.reference} --model-b {wildcards.model} --scale {params.scale} --output {output:q}
        """
