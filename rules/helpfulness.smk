# Purpose: the helpfulness model H of section 4.4 as a reward model: pairs, training, scores, map to [0, 1], held-out accuracy.
# Inputs:  <out>/interim/rows/<dataset>.jsonl, <out>/align/<config_id>/prompts/test.jsonl, a backbone or a published reward model
# Outputs: <out>/helpfulness/, <out>/models/helpfulness/trained/, <out>/metrics/helpfulness/
# The proxy needs none of it: without a reward model in helpfulness.reward or helpfulness.judge nothing here runs.
SCORING_CODE = [f"align/{part}.py" for part in ("helpfulness", "helpfulness_model", "refusal")]


def helper_folder(name):
    """Folder of a reward model of helpfulness: trained here, or as fetched."""
    return f"{S.outdir}/models/helpfulness/trained" if name == "trained" else backbone(name)


def helper_files(name):
    """What scoring by a helpfulness model reads: the proxy's encoder, or the reward model."""
    if name == "trained":
        return [f"{helper_folder(name)}/manifest.json"]
    return ancient(ENCODER_FILES if name == "proxy" else [f"{helper_folder(name)}/manifest.json"])


def helper_option(name):
    """`--encoder` of the proxy, or `--model` of a reward model."""
    return f"--encoder {ENCODER}" if name == "proxy" else f"--model {helper_folder(name)}"


def helpfulness_files(name):
    """What H as `name` reads: the proxy's encoder, a reward model with the map of its scores, nothing for a rating."""
    if name == "llm":
        return []
    return [*helper_files(name), *[f"{S.outdir}/helpfulness/{name}/map.json"] * (name != "proxy")]


def helpfulness_option(name):
    """The flags that name H: the proxy's encoder, a reward model with the map of its scores, or the judge's rating."""
    if name == "llm":
        return "--rated"
    if name == "proxy":
        return helper_option(name)
    return f"--helpfulness {helper_folder(name)} --helpfulness-map {S.outdir}/helpfulness/{name}/map.json"


rule build_helpfulness_pairs:
    """Pairs of a more and a less helpful response, split by prompt; none of the prompts that alignment is tested on."""
    input:
        rows=expand("<out>/interim/rows/{dataset}.jsonl", dataset=HELPFUL_SETS),
        exclude=expand("<out>/align/{config_id}/prompts/test.jsonl", config_id=S.align.configs),
        settings="<out>/config/helpfulness.yaml",
    output:
        expand("<out>/helpfulness/pairs/{part}.jsonl", part=["train", "validation", "test"]),
    log:
        "<out>/logs/build_helpfulness_pairs.log",
    priority: 1
    conda:
        "../envs/core.yaml"
    params:
        folder=f"{S.outdir}/helpfulness/pairs",
        seed=S.seed,
        code=code_digest("align/helpfulness_pairs.py", "data/split.py"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm helpfulness-pairs --rows {input.rows:q} --exclude {input.exclude:q} \
            --settings {input.settings:q} --seed {params.seed} --output-dir {params.folder}
        """


rule train_helpfulness:
    """The helpfulness model of helpfulness.backbone: a scalar head, trained by TRL's RewardTrainer."""
    input:
        pairs="<out>/helpfulness/pairs/train.jsonl",
        backbone=ancient(f"{backbone(S.helpfulness.backbone)}/manifest.json"),
        settings="<out>/config/helpfulness.yaml",
    output:
        "<out>/models/helpfulness/trained/manifest.json",
    log:
        "<out>/logs/train_helpfulness.log",
    benchmark:
        "<out>/benchmarks/train_helpfulness.tsv"
    priority: 1
    conda:
        "../envs/core.yaml"
    threads: MODEL_THREADS
    params:
        backbone=backbone(S.helpfulness.backbone),
        folder=f"{S.outdir}/models/helpfulness/trained",
        scratch=f"{S.outdir}/scratch/helpfulness",
        seed=S.seed,
        code=code_digest("align/helpfulness_train.py", "align/helpfulness_model.py"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm train-helpfulness --pairs {input.pairs:q} --backbone {params.backbone} --settings {input.settings:q} \
            --seed {params.seed} --scratch {params.scratch} --output {params.folder}
        """


rule score_helpfulness:
    """Raw scores of held-out pairs by a helpfulness model: validation pairs for its map, test pairs for its accuracy."""
    input:
        pairs="<out>/helpfulness/pairs/{held_out}.jsonl",
        model=lambda w: helper_files(w.helper),
        settings="<out>/config/helpfulness.yaml",
    output:
        "<out>/helpfulness/{helper}/{held_out}.jsonl",
    log:
        "<out>/logs/score_helpfulness/{helper}/{held_out}.log",
    wildcard_constraints:
        held_out="validation|test",
    priority: 1
    conda:
        "../envs/core.yaml"
    threads: MODEL_THREADS
    params:
        model=lambda w: helper_option(w.helper),
        cap=lambda w: f"--item-cap {S.score.item_cap}" if S.score.item_cap and w.held_out == "test" else "",
        code=code_digest(*SCORING_CODE),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm score-helpfulness {params.model} --pairs {input.pairs:q} --settings {input.settings:q} {params.cap} \
            --output {output:q}
        """


rule map_helpfulness:
    """The map of a reward model's scores to H in [0, 1], fitted on validation pairs."""
    input:
        scores="<out>/helpfulness/{helper}/validation.jsonl",
        settings="<out>/config/helpfulness.yaml",
    output:
        "<out>/helpfulness/{helper}/map.json",
    log:
        "<out>/logs/map_helpfulness/{helper}.log",
    wildcard_constraints:
        helper=either(HELPERS),
    priority: 1
    conda:
        "../envs/core.yaml"
    params:
        code=code_digest("align/helpfulness_metrics.py"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm map-helpfulness --scores {input.scores:q} --settings {input.settings:q} --output {output:q}
        """


rule evaluate_helpfulness:
    """Held-out pair accuracy of a helpfulness model beside the proxy and the longer response."""
    input:
        scores="<out>/helpfulness/{helper}/test.jsonl",
        proxy="<out>/helpfulness/proxy/test.jsonl",
        mapped="<out>/helpfulness/{helper}/map.json",
        settings="<out>/config/metrics.yaml",
    output:
        "<out>/metrics/helpfulness/{helper}.json",
    log:
        "<out>/logs/evaluate_helpfulness/{helper}.log",
    conda:
        "../envs/core.yaml"
    params:
        seed=S.seed,
        scale=S.scale,
        code=code_digest("align/helpfulness_metrics.py", "bench/bootstrap.py"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm evaluate-helpfulness --scores {input.scores:q} --proxy {input.proxy:q} --map {input.mapped:q} \
            --settings {input.settings:q} --seed {params.seed} --model {wildcards.helper} \
            --scale {params.scale} --output {output:q}
        """
