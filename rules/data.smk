# Purpose: raw files, rows of every data set, splits by prompt, the leak check.
# Inputs:  config/datasets.tsv, config/models.tsv, config/files.tsv, data.dvc, a local mirror (data_root)
# Outputs: data/raw/<raw>/, <out>/interim/


def fetch_option(wildcards):
    """The table row that fetches a raw folder: `--dataset ID` or `--model ID`."""
    for option, table in (("--dataset", DATASETS), ("--model", MODELS)):
        ids = [entry.id for entry in table.values() if entry.raw == wildcards.raw]
        if ids:
            return f"{option} {ids[0]}"


rule fetch_raw:
    """Download the raw files of a data set or model and check them against their pins."""
    output:
        "data/raw/{raw}/manifest.json",
    log:
        "logs/fetch_raw/{raw}.log",
    conda:
        "../envs/core.yaml"
    params:
        what=fetch_option,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm fetch {params.what} --output data/raw/{wildcards.raw}
        """


rule pin_data:
    """Verify raw folders against data.dvc and fill DVC's cache."""
    input:
        ancient([f"data/raw/{raw}/manifest.json" for raw in BACKBONES]),
        ancient([f for d in S.data.train if d != "topics" for f in raw_inputs(d)]),
        ancient(ENCODER_FILES),
    output:
        "<out>/interim/pins.json",
    log:
        "<out>/logs/pin_data.log",
    conda:
        "../envs/core.yaml"
    params:
        pins=[raw_pin(raw) for raw in ("pyrit", "minilm", "smollm2-135m-instruct")],
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm pin-data --output {output:q}
        """


rule prepare_rows:
    """Rows of one data set, validated and cut to the configured lengths."""
    input:
        raw=lambda w: ancient(raw_inputs(w.dataset)),
        settings="<out>/config/data.yaml",
    output:
        "<out>/interim/rows/{dataset}.jsonl",
    log:
        "<out>/logs/prepare_rows/{dataset}.log",
    priority: 4
    conda:
        "../envs/core.yaml"
    params:
        place=lambda w: place_option(w.dataset),
        pin=lambda w: raw_pin(DATASETS[w.dataset].raw) if DATASETS[w.dataset].raw else "",
        code=code_digest("data", "configs"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm prepare --dataset {wildcards.dataset} {params.place} \
            --settings {input.settings:q} --output {output:q}
        """


rule answer_topics:
    """The data set `topics`: the policy's own answers to the project's topic prompts, labelled by lexicon."""
    input:
        policy=f"{backbone(S.align.policy)}/manifest.json",
        prompts="<out>/interim/rows/topics-prompts.jsonl",
        settings="<out>/config/topics.yaml",
    output:
        "<out>/interim/rows/topics.jsonl",
    log:
        "<out>/logs/answer_topics.log",
    benchmark:
        "<out>/benchmarks/answer_topics.tsv"
    conda:
        "../envs/core.yaml"
    threads: MODEL_THREADS
    params:
        policy=backbone(S.align.policy),
        seed=S.seed,
        code=code_digest("configs/topics.py", "configs/topics.yaml", "align/sample.py", "align/generate.py"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm answer-topics --policy {params.policy} --prompts {input.prompts:q} \
            --settings {input.settings:q} --seed {params.seed} --output {output:q}
        """


rule split_rows:
    """Split labelled conversations by prompt; held-out families and benchmark prompts never reach training."""
    input:
        rows=expand("<out>/interim/rows/{dataset}.jsonl", dataset=S.data.train),
        exclude=expand("<out>/interim/rows/{dataset}.jsonl", dataset=EXCLUDED_SETS),
        settings="<out>/config/data.yaml",
    output:
        expand("<out>/interim/split/{part}.jsonl", part=["train", "validation", "test"]),
    log:
        "<out>/logs/split_rows.log",
    priority: 4
    conda:
        "../envs/core.yaml"
    params:
        exclude=lambda w, input: f"--exclude {' '.join(input.exclude)}" if input.exclude else "",
        folder=f"{S.outdir}/interim/split",
        seed=S.seed,
        code=code_digest("data", "configs/taxonomies"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm split --settings {input.settings:q} --seed {params.seed} \
            --rows {input.rows:q} {params.exclude} --output-dir {params.folder}
        """


rule split_pairs:
    """Split response pairs by prompt, away from the prompts that the other splits test on."""
    input:
        rows=expand("<out>/interim/rows/{dataset}.jsonl", dataset=S.data.response_pairs),
        exclude=[
            *expand("<out>/interim/split/{part}.jsonl", part=["validation", "test"]),
            *expand("<out>/interim/rows/{dataset}.jsonl", dataset=EXCLUDED_SETS),
        ],
        settings="<out>/config/data.yaml",
    output:
        expand("<out>/interim/pairs/{part}.jsonl", part=["train", "test"]),
    log:
        "<out>/logs/split_pairs.log",
    priority: 4
    conda:
        "../envs/core.yaml"
    params:
        folder=f"{S.outdir}/interim/pairs",
        seed=S.seed,
        code=code_digest("data"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm split-pairs --settings {input.settings:q} --seed {params.seed} \
            --rows {input.rows:q} --exclude {input.exclude:q} --output-dir {params.folder}
        """


rule check_leaks:
    """Fail if a normalised training prompt occurs in anything that benchmarks read."""
    input:
        train=TRAIN_SPLITS,
        benchmarks=HELD_BACK,
    output:
        "<out>/interim/leaks.json",
    log:
        "<out>/logs/check_leaks.log",
    priority: 4
    conda:
        "../envs/core.yaml"
    params:
        code=code_digest("data/leaks.py"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm check-leaks --train {input.train:q} --benchmarks {input.benchmarks:q} --output {output:q}
        """
