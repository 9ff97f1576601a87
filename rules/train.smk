# Purpose: backbones as plain folders, and the CSRM variants.
# Inputs:  data/raw/<model>/, <out>/augmented/<draw>/*.jsonl
# Outputs: <out>/models/backbone/<model>/, <out>/models/csrm/<variant>/
TRAINED_WITH = [f"model/{part}.py" for part in ("device", "reward", "scorer", "tree", "verbalizer")]
MADE = [m for m in MODELS.values() if m.format in ("gguf", "rule")]


def backbone_source(wildcards):
    """The raw GGUF of a model; the random model has none."""
    raw = MODELS[wildcards.made].raw
    return ancient([f"data/raw/{raw}/manifest.json"] if raw else [])


def backbone_option(wildcards):
    """`--gguf FILE` or `--random`."""
    raw = MODELS[wildcards.made].raw
    files = [f.path for f in load_files("config", raw)] if raw else []
    return f"--gguf data/raw/{raw}/{files[0]}" if files else "--random"


rule make_backbone:
    """A plain Hugging Face folder from a GGUF file, or the random model of the tests."""
    input:
        backbone_source,
    output:
        "<out>/models/backbone/{made}/manifest.json",
    log:
        "<out>/logs/make_backbone/{made}.log",
    wildcard_constraints:
        made="|".join(m.id for m in MADE),
    priority: 4
    conda:
        "../envs/core.yaml"
    params:
        source=backbone_option,
        folder=lambda w: backbone(w.made),
        pin=lambda w: raw_pin(MODELS[w.made].raw) if MODELS[w.made].raw else "",
        seed=S.seed,
        code=code_digest("model/backbone.py"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm make-backbone {params.source} --seed {params.seed} --output {params.folder}
        """


def training_groups(wildcards):
    """Groups of the sources that a variant trains on."""
    variant = VARIANTS[wildcards.variant]
    trained = {"cca": variant.cca, "sa": variant.sa}
    draw = draw_of(wildcards.variant, S.train, DRAWS)
    return expand(
        "<out>/augmented/{draw}/{source}.jsonl", draw=draw, source=[s for s in SOURCES if trained.get(s, True)]
    )


rule train_csrm:
    """The reference variant (section 3.3): the joint loss over its mixture; resumes from checkpoints after a kill."""
    input:
        groups=training_groups,
        backbone=lambda w: ancient(f"{backbone(VARIANTS[w.variant].backbone)}/manifest.json"),
        settings=lambda w: train_slice(w.variant),
        leaks=ancient("<out>/interim/leaks.json"),
    output:
        "<out>/models/csrm/{variant}/manifest.json",
    log:
        "<out>/logs/train_csrm/{variant}.log",
    benchmark:
        "<out>/benchmarks/train_csrm/{variant}.tsv"
    wildcard_constraints:
        variant=either([REFERENCE]),
    priority: 3
    conda:
        "../envs/core.yaml"
    threads: MODEL_THREADS
    params:
        backbone=lambda w: backbone(VARIANTS[w.variant].backbone),
        folder=lambda w: f"{S.outdir}/models/csrm/{w.variant}",
        scratch=f"{S.outdir}/scratch",
        seed=S.seed,
        code=code_digest("train", *TRAINED_WITH, "configs/render.py", "augment/mix.py"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm train --variant {wildcards.variant} --groups {input.groups:q} --backbone {params.backbone} \
            --settings {input.settings:q} --seed {params.seed} --scratch {params.scratch} --output {params.folder}
        """


# The other variants, after the reference: the alignment waits for that one.
use rule train_csrm as train_variant with:
    wildcard_constraints:
        variant=either([v for v in VARIANTS if v != REFERENCE]),
    priority: 2
