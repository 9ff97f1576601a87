# Purpose: benchmark items, raw scores (one row an item), metrics with intervals, paired comparisons, calibration.
# Inputs:  <out>/interim/, <out>/models/, <out>/augmented/, config/benchmarks.tsv
# Outputs: <out>/items/, <out>/models/baselines/, <out>/scores/<model>/, <out>/calibration/<model>/,
#          <out>/metrics/<model>/, <out>/metrics/{compare,seeds,clauses,calibration}/<model>/
BENCH_CODE = code_digest(
    "bench/assemble.py",
    "bench/build.py",
    "bench/clauses.py",
    "bench/cosa.py",
    "bench/dynabench.py",
    "bench/generated.py",
    "bench/registry.py",
    "bench/severity.py",
    "data/leaks.py",
    "augment",
    "configs",
)
BASELINE_CODE = code_digest("bench/baselines.py", "bench/probes.py", "augment/encoder.py")
EVALUATION_CODE = code_digest(
    "bench/metrics.py",
    "bench/ranks.py",
    "bench/severity.py",
    "bench/evaluate.py",
    "bench/calibration.py",
    "bench/parse_failures.py",
)
TRAINED = [name for name, line in BASELINES.items() if line.trained]


def of_seeds(variant, benchmark):
    """Scores of a variant's models, one a seed."""
    return [f"{S.outdir}/scores/{name}/{benchmark}.jsonl" for name, (v, _) in S.train.names().items() if v == variant]


rule build_benchmark:
    """Items of one benchmark."""
    input:
        rows=lambda w: benchmark_rows(w.benchmark),
        seen=lambda w: seen_splits() if w.benchmark in LATER else [],
        table=ancient("config/benchmarks.tsv"),
        settings="<out>/config/augment.yaml",
        data_settings="<out>/config/data.yaml",
        encoder=ancient(ENCODER_FILES),
    output:
        "<out>/items/{benchmark}.jsonl",
    log:
        "<out>/logs/build_benchmark/{benchmark}.log",
    conda:
        "../envs/core.yaml"
    params:
        row=lambda w: ITEM_SETS[w.benchmark].model_dump_json(),
        seen=lambda w, input: f"--seen {' '.join(input.seen)}" if input.seen else "",
        cap=f"--item-cap {S.score.item_cap}" if S.score.item_cap else "",
        encoder=ENCODER,
        seed=S.seed,
        code=BENCH_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm build-benchmark --benchmark {wildcards.benchmark} --rows {input.rows:q} \
            --settings {input.settings:q} --data-settings {input.data_settings:q} \
            {params.seen} {params.cap} --seed {params.seed} --encoder {params.encoder} --output {output:q}
        """


rule score_benchmark:
    """Raw safe log-odds of every item by a language model."""
    input:
        asked="<out>/items/{benchmark}.jsonl",
        model=lambda w: f"{scorer(w.lm)}/manifest.json",
        settings="<out>/config/score.yaml",
        train_settings=lambda w: train_slice(w.lm),
        place=ancient("<out>/config/backend.yaml"),
    output:
        "<out>/scores/{lm}/{benchmark}.jsonl",
    log:
        "<out>/logs/score_benchmark/{lm}/{benchmark}.log",
    benchmark:
        "<out>/benchmarks/score_benchmark/{lm}/{benchmark}.tsv"
    conda:
        "../envs/core.yaml"
    threads: MODEL_THREADS
    params:
        model=lambda w: scorer(w.lm),
        code=code_digest("model", "configs/render.py"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm score-items --model {params.model} --items {input.asked:q} --settings {input.settings:q} \
            --train-settings {input.train_settings:q} --backend-settings {input.place:q} \
            --served {wildcards.lm} --output {output:q}
        """


rule fit_baseline:
    """A trained baseline, fitted on the training groups of the reference variant."""
    input:
        groups=expand("<out>/augmented/{draw}/{source}.jsonl", draw=REFERENCE_DRAW, source=SOURCES),
        encoder=ancient(ENCODER_FILES),
        leaks=ancient("<out>/interim/leaks.json"),
    output:
        "<out>/models/baselines/{trained}.joblib",
    log:
        "<out>/logs/fit_baseline/{trained}.log",
    wildcard_constraints:
        trained="|".join(TRAINED) or "none",
    conda:
        "../envs/core.yaml"
    params:
        encoder=ENCODER,
        code=BASELINE_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm fit-baseline --baseline {wildcards.trained} --groups {input.groups:q} \
            --encoder {params.encoder} --output {output:q}
        """


rule score_baseline:
    """Scores of a baseline that is no language model."""
    input:
        asked="<out>/items/{benchmark}.jsonl",
        encoder=ancient(ENCODER_FILES),
        fitted=lambda w: f"{S.outdir}/models/baselines/{w.baseline}.joblib" if w.baseline in TRAINED else [],
    output:
        "<out>/scores/{baseline}/{benchmark}.jsonl",
    log:
        "<out>/logs/score_baseline/{baseline}/{benchmark}.log",
    conda:
        "../envs/core.yaml"
    params:
        encoder=ENCODER,
        fitted=lambda w, input: f"--fitted {input.fitted}" if w.baseline in TRAINED else "",
        code=BASELINE_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm score-baseline --baseline {wildcards.baseline} --items {input.asked:q} \
            --encoder {params.encoder} {params.fitted} --output {output:q}
        """


rule score_guard:
    """Scores of a guard model in its own published prompt format."""
    input:
        asked="<out>/items/{benchmark}.jsonl",
        model=lambda w: guard_weights(w.guard),
        table=ancient("config/guards.tsv"),
        settings="<out>/config/score.yaml",
        place=ancient("<out>/config/backend.yaml"),
    output:
        "<out>/scores/{guard}/{benchmark}.jsonl",
    log:
        "<out>/logs/score_guard/{guard}/{benchmark}.log",
    benchmark:
        "<out>/benchmarks/score_guard/{guard}/{benchmark}.tsv"
    conda:
        "../envs/core.yaml"
    threads: MODEL_THREADS
    params:
        row=lambda w: GUARDS[w.guard].model_dump_json(),
        folder=lambda w: f"{S.score.guards}/{w.guard}",
        task=lambda w: task_of(ITEM_SETS[w.benchmark]) if hasattr(w, "benchmark") else "response",
        code=code_digest("bench/guards", "model/backends", "configs/render.py"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm score-guard --guard {wildcards.guard} --model {params.folder:q} --items {input.asked:q} \
            --task {params.task} --settings {input.settings:q} --backend-settings {input.place:q} \
            --served {wildcards.guard} --output {output:q}
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
        code=EVALUATION_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm evaluate --items {input.asked:q} --scores {input.scores:q} --settings {input.settings:q} \
            --seed {params.seed} --benchmark {wildcards.benchmark} --model {wildcards.model} \
            --scale {params.scale} --output {output:q}
        """


rule compare_models:
    """Paired differences between any two models on the same items."""
    input:
        asked="<out>/items/{benchmark}.jsonl",
        first="<out>/scores/{model}/{benchmark}.jsonl",
        second="<out>/scores/{other}/{benchmark}.jsonl",
        settings="<out>/config/metrics.yaml",
    output:
        "<out>/metrics/compare/{model}/{other}/{benchmark}.json",
    log:
        "<out>/logs/compare_models/{model}/{other}/{benchmark}.log",
    conda:
        "../envs/core.yaml"
    params:
        seed=S.seed,
        scale=S.scale,
        code=EVALUATION_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm compare --items {input.asked:q} --scores-a {input.first:q} --scores-b {input.second:q} \
            --settings {input.settings:q} --seed {params.seed} --benchmark {wildcards.benchmark} \
            --model-a {wildcards.model} --model-b {wildcards.other} --scale {params.scale} --output {output:q}
        """


rule evaluate_seeds:
    """One variant over all seeds of training on one benchmark, and its difference to the reference variant."""
    input:
        asked="<out>/items/{benchmark}.jsonl",
        scores=lambda w: of_seeds(w.variant, w.benchmark),
        reference=lambda w: [] if w.variant == REFERENCE else of_seeds(REFERENCE, w.benchmark),
        settings="<out>/config/metrics.yaml",
    output:
        "<out>/metrics/seeds/{variant}/{benchmark}.json",
    log:
        "<out>/logs/evaluate_seeds/{variant}/{benchmark}.log",
    conda:
        "../envs/core.yaml"
    params:
        reference=lambda w, input: f"--reference {' '.join(map(str, input.reference))}" if input.reference else "",
        seed=S.seed,
        scale=S.scale,
        code=code_digest("bench/seeds.py", "bench/metrics.py", "bench/ranks.py", "bench/evaluate.py"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm evaluate-seeds --items {input.asked:q} --scores {input.scores:q} {params.reference} \
            --settings {input.settings:q} --seed {params.seed} --benchmark {wildcards.benchmark} \
            --model {wildcards.variant} --scale {params.scale} --output {output:q}
        """


rule evaluate_clauses:
    """Unsafe rate and mean reward per category with its clause enforced, removed, allowed or contradicted (Table 7)."""
    input:
        asked="<out>/items/{benchmark}.jsonl",
        scores="<out>/scores/{lm}/{benchmark}.jsonl",
        settings="<out>/config/metrics.yaml",
    output:
        "<out>/metrics/clauses/{lm}/{benchmark}.json",
    log:
        "<out>/logs/evaluate_clauses/{lm}/{benchmark}.log",
    conda:
        "../envs/core.yaml"
    params:
        seed=S.seed,
        scale=S.scale,
        code=code_digest("bench/clauses.py", "bench/bootstrap.py", "bench/metrics.py", "bench/evaluate.py"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm evaluate-clauses --items {input.asked:q} --scores {input.scores:q} --settings {input.settings:q} \
            --seed {params.seed} --benchmark {wildcards.benchmark} --model {wildcards.lm} \
            --scale {params.scale} --output {output:q}
        """


rule calibrate_model:
    """Temperature, Platt, isotonic, and a threshold per target FPR, from a model's scores of the validation split."""
    input:
        asked=f"<out>/items/{S.score.validation}.jsonl",
        scores=f"<out>/scores/{{model}}/{S.score.validation}.jsonl",
        settings="<out>/config/metrics.yaml",
    output:
        "<out>/calibration/{model}/calibration.json",
    log:
        "<out>/logs/calibrate_model/{model}.log",
    conda:
        "../envs/core.yaml"
    params:
        validation=S.score.validation,
        scale=S.scale,
        code=EVALUATION_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm calibrate --items {input.asked:q} --scores {input.scores:q} --settings {input.settings:q} \
            --benchmark {params.validation} --model {wildcards.model} --scale {params.scale} --output {output:q}
        """


rule evaluate_calibration:
    """Brier score and smECE before and after calibration on test scores, and what the thresholds do there."""
    input:
        asked="<out>/items/{benchmark}.jsonl",
        scores="<out>/scores/{model}/{benchmark}.jsonl",
        calibration="<out>/calibration/{model}/calibration.json",
        settings="<out>/config/metrics.yaml",
    output:
        "<out>/metrics/calibration/{model}/{benchmark}.json",
    log:
        "<out>/logs/evaluate_calibration/{model}/{benchmark}.log",
    conda:
        "../envs/core.yaml"
    params:
        seed=S.seed,
        scale=S.scale,
        code=EVALUATION_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm evaluate-calibration --items {input.asked:q} --scores {input.scores:q} \
            --calibration {input.calibration:q} --settings {input.settings:q} --seed {params.seed} \
            --benchmark {wildcards.benchmark} --model {wildcards.model} --scale {params.scale} --output {output:q}
        """
