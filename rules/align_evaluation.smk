# Purpose: evaluate policies before and after alignment, the Pareto sweep of a reward, and the judge itself.
# Inputs:  <out>/align/<config_id>/, <out>/judgements/<config_id>/, <out>/interim/rows/
# Outputs: <out>/metrics/align/<algorithm>/<reward>/, <out>/metrics/pareto/<reward>/, <out>/metrics/judge.json


rule evaluate_policy:
    """Safety, helpfulness and CoSA-Score before and after alignment, with their paired difference."""
    input:
        before="<out>/judgements/{config_id}/before/test.jsonl",
        after="<out>/judgements/{config_id}/after/{algorithm}/{reward}.jsonl",
        settings="<out>/config/metrics.yaml",
    output:
        "<out>/metrics/align/{algorithm}/{reward}/{config_id}.json",
    log:
        "<out>/logs/evaluate_policy/{algorithm}/{reward}/{config_id}.log",
    conda:
        "../envs/core.yaml"
    params:
        seed=S.seed,
        scale=S.scale,
        code=ALIGN_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm evaluate-policy --judgements-before {input.before:q} --judgements-after {input.after:q} \
            --settings {input.settings:q} --seed {params.seed} --config-id {wildcards.config_id} \
            --algorithm {wildcards.algorithm} --reward {wildcards.reward} --scale {params.scale} --output {output:q}
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


rule evaluate_judge:
    """The judge's own accuracy: its refusals against verdicts of people on other responses."""
    input:
        rows=expand("<out>/interim/rows/{dataset}.jsonl", dataset=JUDGE_SETS),
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
        code=code_digest("align/judge_accuracy.py", "align/refusal.py", "bench/bootstrap.py"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm evaluate-judge --rows {input.rows:q} --settings {input.settings:q} --seed {params.seed} \
            --scale {params.scale} --output {output:q}
        """
