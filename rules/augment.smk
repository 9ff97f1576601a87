# Purpose: training groups: base items, configuration augmentation (CCA), strictness augmentation (SA), response pairs.
# Inputs:  <out>/interim/split/train.jsonl, <out>/interim/pairs/train.jsonl, the category bank of the package
# Outputs: <out>/augmented/<draw>/<source>.jsonl, <out>/augmented/<draw>/{cca,sa}_statistics.json, <out>/metrics/proposers.json
AUGMENT_CODE = code_digest("augment", "configs")
SOURCES = ["base", "cca", "sa", *["response"] * PAIRS]
# Groups are drawn once for all variants (draw `train`), and once more for each variant with augmentation settings of its own.


def asked(settings, backend):
    """Manifest of the backbone where it is the language model that is asked, because the settings name none."""
    return (
        ancient(f"{backbone(S.train.backbone)}/manifest.json") if (backend, settings.llm.model) == ("llm", None) else []
    )


def asked_option(wildcards, input):
    """`--llm DIR` of that model."""
    return f"--llm {Path(input.llm).parent}" if input.llm else ""


rule augment_base:
    """Each conversation under the standard configuration of its taxonomy."""
    input:
        rows="<out>/interim/split/train.jsonl",
        settings=lambda w: draw_slice(S.outdir, w.draw),
        data_settings="<out>/config/data.yaml",
    output:
        "<out>/augmented/{draw}/base.jsonl",
    log:
        "<out>/logs/augment_base/{draw}.log",
    priority: 4
    conda:
        "../envs/core.yaml"
    params:
        seed=S.seed,
        code=AUGMENT_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm augment-base --settings {input.settings:q} --data-settings {input.data_settings:q} \
            --seed {params.seed} --rows {input.rows:q} --output {output:q}
        """


rule augment_cca:
    """CCA: each conversation under contrasting configurations, labelled by Eq. 1."""
    input:
        rows="<out>/interim/split/train.jsonl",
        settings=lambda w: draw_slice(S.outdir, w.draw),
        data_settings="<out>/config/data.yaml",
        encoder=ancient(ENCODER_FILES),
        llm=lambda w: asked(DRAWS[w.draw], DRAWS[w.draw].cca_backend),
    output:
        groups="<out>/augmented/{draw}/cca.jsonl",
        statistics="<out>/augmented/{draw}/cca_statistics.json",
    log:
        "<out>/logs/augment_cca/{draw}.log",
    benchmark:
        "<out>/benchmarks/augment_cca/{draw}.tsv"
    priority: 4
    conda:
        "../envs/core.yaml"
    params:
        seed=S.seed,
        encoder=ENCODER,
        llm=asked_option,
        code=AUGMENT_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm augment-cca --settings {input.settings:q} --data-settings {input.data_settings:q} \
            --seed {params.seed} --rows {input.rows:q} --encoder {params.encoder} {params.llm} \
            --output {output.groups:q}
        """


rule augment_strictness:
    """SA: strict and lenient versions of a category whose order passed the dominance test (Algorithm 1)."""
    input:
        rows="<out>/interim/split/train.jsonl",
        settings=lambda w: draw_slice(S.outdir, w.draw),
        data_settings="<out>/config/data.yaml",
        encoder=ancient(ENCODER_FILES),
        llm=lambda w: asked(DRAWS[w.draw], DRAWS[w.draw].sa_backend),
    output:
        groups="<out>/augmented/{draw}/sa.jsonl",
        statistics="<out>/augmented/{draw}/sa_statistics.json",
    log:
        "<out>/logs/augment_strictness/{draw}.log",
    benchmark:
        "<out>/benchmarks/augment_strictness/{draw}.tsv"
    priority: 4
    conda:
        "../envs/core.yaml"
    params:
        seed=S.seed,
        encoder=ENCODER,
        llm=asked_option,
        code=AUGMENT_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm augment-strictness --settings {input.settings:q} --data-settings {input.data_settings:q} \
            --seed {params.seed} --rows {input.rows:q} --encoder {params.encoder} {params.llm} \
            --output {output.groups:q}
        """


rule augment_pairs:
    """Response pairs as ranking groups under the configuration of general harm."""
    input:
        rows="<out>/interim/pairs/train.jsonl",
        config="config/safety_configs/general-harm.yaml",
        settings=lambda w: draw_slice(S.outdir, w.draw),
    output:
        "<out>/augmented/{draw}/response.jsonl",
    log:
        "<out>/logs/augment_pairs/{draw}.log",
    priority: 4
    conda:
        "../envs/core.yaml"
    params:
        seed=S.seed,
        code=AUGMENT_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm augment-pairs --settings {input.settings:q} --seed {params.seed} \
            --rows {input.rows:q} --config {input.config:q} --output {output:q}
        """


rule compare_proposers:
    """How good p+ and p- of the bank and of a language model are, on the same conversations."""
    input:
        rows="<out>/interim/split/train.jsonl",
        settings="<out>/config/augment.yaml",
        data_settings="<out>/config/data.yaml",
        metrics_settings="<out>/config/metrics.yaml",
        encoder=ancient(ENCODER_FILES),
        llm=asked(S.augment, "llm"),
    output:
        "<out>/metrics/proposers.json",
    log:
        "<out>/logs/compare_proposers.log",
    conda:
        "../envs/core.yaml"
    threads: MODEL_THREADS
    params:
        conversations=S.augment.compared or 1,
        llm=asked_option,
        encoder=ENCODER,
        seed=S.seed,
        scale=S.scale,
        code=code_digest("augment", "configs", "bench/proposals.py", "bench/bootstrap.py", "bench/metrics.py"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm compare-proposers --rows {input.rows:q} --settings {input.settings:q} \
            --data-settings {input.data_settings:q} --metrics-settings {input.metrics_settings:q} {params.llm} \
            --encoder {params.encoder} --conversations {params.conversations} --seed {params.seed} \
            --scale {params.scale} --output {output:q}
        """
