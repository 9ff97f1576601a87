# Purpose: answer test prompts, evaluate policies before and after alignment, the Pareto sweep of a reward, and the judge itself.
# Inputs:  <out>/models/policy/, <out>/align/<config_id>/, <out>/judgements/<config_id>/, <out>/interim/rows/
# Outputs: <out>/align/<config_id>/after/, <out>/capability/, <out>/metrics/{align,checkpoints,capability}/<algorithm>/<reward>/, <out>/metrics/pareto/<reward>/, <out>/metrics/judge.json


def answering(wildcards):
    """Adapter's folder of the policy that answers under a run's configuration, trained with the same seed."""
    reward, _, trained = wildcards.reward.partition("@")
    tested, seed = S.align.runs()[wildcards.config_id]
    return f"{S.outdir}/models/policy/{wildcards.algorithm}/{reward}/{S.align.run_of(trained or tested, seed)}"


rule generate_after:
    """Responses of the aligned policy to the test prompts, under its configuration or one that it was not trained on."""
    input:
        policy=ancient(f"{backbone(S.align.policy)}/manifest.json"),
        adapter=lambda w: f"{answering(w)}/manifest.json",
        prompts=lambda w: prompts(w, "test"),
        config=safety_config,
        settings="<out>/config/align.yaml",
    output:
        "<out>/align/{config_id}/after/{algorithm}/{reward}.jsonl",
    log:
        "<out>/logs/generate_after/{algorithm}/{reward}/{config_id}.log",
    wildcard_constraints:
        reward=ANSWERING,
    priority: 1
    conda:
        "../envs/core.yaml"
    threads: MODEL_THREADS
    params:
        policy=backbone(S.align.policy),
        adapter=answering,
        samples=S.align.test_samples,
        seed=align_seed,
        code=ALIGN_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm sample --policy {params.policy} --adapter {params.adapter} --prompts {input.prompts:q} \
            --safety-config {input.config:q} --samples {params.samples} --settings {input.settings:q} \
            --seed {params.seed} --output {output:q}
        """


def judged(wildcards, answered):
    """Judgements of a configuration's test responses, one file a seed of alignment."""
    return [f"{S.outdir}/judgements/{run}/{answered}.jsonl" for run in S.align.runs_of(wildcards.config_id)]


rule evaluate_policy:
    """Safety, helpfulness and CoSA-Score before and after alignment, their paired difference, and means over seeds."""
    input:
        before=lambda w: judged(w, "before/test"),
        after=lambda w: judged(w, f"after/{w.algorithm}/{w.reward}"),
        settings="<out>/config/metrics.yaml",
    output:
        "<out>/metrics/align/{algorithm}/{reward}/{config_id}.json",
    log:
        "<out>/logs/evaluate_policy/{algorithm}/{reward}/{config_id}.log",
    wildcard_constraints:
        algorithm=either(S.align.algorithms),
        reward=ANSWERING,
        config_id=either([*S.align.configs, *S.align.tested]),
    conda:
        "../envs/core.yaml"
    params:
        reward=lambda w: w.reward.partition("@")[0],
        trained=lambda w: w.reward.partition("@")[2] or w.config_id,
        seeds=[S.seed, *S.align.seeds],
        seed=S.seed,
        scale=S.scale,
        code=ALIGN_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm evaluate-policy --judgements-before {input.before:q} --judgements-after {input.after:q} \
            --settings {input.settings:q} --seed {params.seed} --config-id {wildcards.config_id} \
            --trained-under {params.trained} --algorithm {wildcards.algorithm} --reward {params.reward} \
            --seeds {params.seeds} --scale {params.scale} --output {output:q}
        """


def adapter(wildcards):
    """Folder of an aligned policy's adapter; none for the policy before alignment."""
    return [] if wildcards.measured == "policy" else f"{S.outdir}/models/policy/{wildcards.measured}"


rule measure_capability:
    """What the policy, or an aligned one, makes of neutral text, and of the harness's tasks where named."""
    input:
        policy=ancient(f"{backbone(S.align.policy)}/manifest.json"),
        adapter=lambda w: [f"{folder}/manifest.json" for folder in [adapter(w)] if folder],
        settings="<out>/config/capability.yaml",
    output:
        "<out>/capability/{measured}.jsonl",
    log:
        "<out>/logs/measure_capability/{measured}.log",
    wildcard_constraints:
        measured=f"policy|({either(S.align.algorithms)})/({either(S.align.rewards)})/({either(S.align.runs())})",
    conda:
        "../envs/tasks.yaml" if S.capability.tasks else "../envs/core.yaml"
    threads: MODEL_THREADS
    params:
        policy=backbone(S.align.policy),
        adapter=lambda w: f"--adapter {adapter(w)}" if adapter(w) else "",
        seed=S.seed,
        code=code_digest(
            "align/capability.py", "align/harness.py", "align/policy.py", "data/project/neutral_text.jsonl"
        ),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm measure-capability --policy {params.policy} {params.adapter} --settings {input.settings:q} \
            --seed {params.seed} --output {output:q}
        """


rule evaluate_capability:
    """General capability before and after alignment, and its change."""
    input:
        before="<out>/capability/policy.jsonl",
        after=lambda w: [
            f"{S.outdir}/capability/{w.algorithm}/{w.reward}/{run}.jsonl" for run in S.align.runs_of(w.config_id)
        ],
        settings="<out>/config/metrics.yaml",
    output:
        "<out>/metrics/capability/{algorithm}/{reward}/{config_id}.json",
    log:
        "<out>/logs/evaluate_capability/{algorithm}/{reward}/{config_id}.log",
    wildcard_constraints:
        algorithm=either(S.align.algorithms),
        config_id=either(S.align.configs),
    conda:
        "../envs/core.yaml"
    params:
        seeds=[S.seed, *S.align.seeds],
        seed=S.seed,
        scale=S.scale,
        code=code_digest("align/capability.py", "bench/metrics.py"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm evaluate-capability --before {input.before:q} --after {input.after:q} --settings {input.settings:q} \
            --seed {params.seed} --config-id {wildcards.config_id} --algorithm {wildcards.algorithm} \
            --reward {wildcards.reward} --seeds {params.seeds} --scale {params.scale} --output {output:q}
        """


rule compare_policies:
    """Policies of two rewards, trained under one configuration: their paired difference on the same prompts and seeds."""
    input:
        own=lambda w: judged(w, f"after/{w.algorithm}/{w.reward}"),
        others=lambda w: judged(w, f"after/{w.algorithm}/" + "@".join([w.other_reward, *w.reward.split("@")[1:]])),
        settings="<out>/config/metrics.yaml",
    output:
        "<out>/metrics/align/compare/{algorithm}/{reward}/{other_reward}/{config_id}.json",
    log:
        "<out>/logs/compare_policies/{algorithm}/{reward}/{other_reward}/{config_id}.log",
    wildcard_constraints:
        algorithm=either(S.align.algorithms),
        reward=ANSWERING,
        config_id=either([*S.align.configs, *S.align.tested]),
        other_reward=either(S.align.rewards),
    conda:
        "../envs/core.yaml"
    params:
        reward=lambda w: w.reward.partition("@")[0],
        trained=lambda w: w.reward.partition("@")[2] or w.config_id,
        seeds=[S.seed, *S.align.seeds],
        seed=S.seed,
        scale=S.scale,
        code=ALIGN_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm compare-policies --judgements {input.own:q} --other-judgements {input.others:q} \
            --settings {input.settings:q} --seed {params.seed} --config-id {wildcards.config_id} \
            --trained-under {params.trained} --algorithm {wildcards.algorithm} \
            --reward {params.reward} --other {wildcards.other_reward} --seeds {params.seeds} --scale {params.scale} \
            --output {output:q}
        """


def others(reward):
    """Rewards that the first swept one's hypervolume is set against; none for the others."""
    return S.align.swept[1:] if reward == S.align.swept[0] else []


rule sweep_pareto:
    """Safety, helpfulness and hypervolume as the safety logits are shifted (Figure 4)."""
    input:
        samples="<out>/align/{config_id}/before/test.jsonl",
        scores="<out>/align/{config_id}/rewards/{reward}/test.jsonl",
        judgements="<out>/judgements/{config_id}/before/test.jsonl",
        others=lambda w: expand(f"{S.outdir}/align/{w.config_id}/rewards/{{other}}/test.jsonl", other=others(w.reward)),
        align_settings="<out>/config/align.yaml",
        settings="<out>/config/metrics.yaml",
    output:
        "<out>/metrics/pareto/{reward}/{config_id}.json",
    log:
        "<out>/logs/sweep_pareto/{reward}/{config_id}.log",
    wildcard_constraints:
        config_id=either(S.align.configs),
    conda:
        "../envs/core.yaml"
    params:
        others=lambda w, input: (
            f"--others {' '.join(others(w.reward))} --other-scores {' '.join(input.others)}" if input.others else ""
        ),
        seed=S.seed,
        scale=S.scale,
        code=ALIGN_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm pareto --samples {input.samples:q} --scores {input.scores:q} --judgements {input.judgements:q} \
            {params.others} --align-settings {input.align_settings:q} --settings {input.settings:q} \
            --seed {params.seed} --config-id {wildcards.config_id} --reward {wildcards.reward} \
            --scale {params.scale} --output {output:q}
        """


# The judge whose helpfulness Table 5 shows: the language model's rating, or rules.
RATED = S.helpfulness.judge == "llm"


rule evaluate_judge:
    """The judge's own accuracy: refusals and help against verdicts of people on other responses."""
    input:
        rows=expand("<out>/interim/rows/{dataset}.jsonl", dataset=JUDGE_SETS),
        encoder=[] if RATED else ancient(ENCODER_FILES),
        align_settings=["<out>/config/align.yaml"] if RATED else [],
        settings="<out>/config/metrics.yaml",
    output:
        "<out>/metrics/judge.json",
    log:
        "<out>/logs/evaluate_judge.log",
    conda:
        "../envs/core.yaml"
    params:
        seed=S.seed,
        scale=S.scale,
        way=lambda w, input: f"--align-settings {input.align_settings}" if RATED else f"--encoder {ENCODER}",
        code=code_digest(
            *("align/judge.py" if RATED else "align/helpfulness.py", "align/refusal.py"),
            *("align/judge_accuracy.py", "bench/bootstrap.py"),
        ),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm evaluate-judge --rows {input.rows:q} {params.way} --settings {input.settings:q} --seed {params.seed} \
            --scale {params.scale} --output {output:q}
        """


def along_training(folder, wildcards):
    """Files about the test responses before training, of the kept policies, and at its end, in this order."""
    names = [
        "test",
        *(f"{kept}/{wildcards.reward}" for kept in (*S.align.kept(wildcards.algorithm), wildcards.algorithm)),
    ]
    if folder == "judgements":
        return [f"{S.outdir}/judgements/{wildcards.config_id}/{answers(name)}" for name in names]
    return [f"{S.outdir}/align/{wildcards.config_id}/rewards/{wildcards.reward}/{name}.jsonl" for name in names]


rule evaluate_checkpoints:
    """Over-optimisation: the reward that trains a policy, and the judge, at steps along its training."""
    input:
        adapter="<out>/models/policy/{algorithm}/{reward}/{config_id}/manifest.json",
        judgements=lambda w: along_training("judgements", w),
        scores=lambda w: along_training("rewards", w),
        align_settings="<out>/config/align.yaml",
        settings="<out>/config/metrics.yaml",
    output:
        "<out>/metrics/checkpoints/{algorithm}/{reward}/{config_id}.json",
    log:
        "<out>/logs/evaluate_checkpoints/{algorithm}/{reward}/{config_id}.log",
    wildcard_constraints:
        algorithm=either(S.align.algorithms),
        config_id=either(S.align.configs),
    conda:
        "../envs/core.yaml"
    params:
        adapter=lambda w: f"{S.outdir}/models/policy/{w.algorithm}/{w.reward}/{w.config_id}",
        seed=S.seed,
        scale=S.scale,
        code=ALIGN_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm evaluate-checkpoints --adapter {params.adapter} --judgements {input.judgements:q} --scores {input.scores:q} \
            --align-settings {input.align_settings:q} --settings {input.settings:q} --seed {params.seed} \
            --config-id {wildcards.config_id} --algorithm {wildcards.algorithm} --reward {wildcards.reward} \
            --scale {params.scale} --output {output:q}
        """
