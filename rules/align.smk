# Purpose: align the policy with each reward: sample, reward, pair, train by each algorithm, generate, judge, compare, sweep.
# Inputs:  <out>/models/, config/safety_configs/<config_id>.yaml
# Outputs: <out>/align/<config_id>/, <out>/models/policy/<algorithm>/<reward>/<config_id>/, <out>/metrics/align/
# Its long chain goes before scoring (priority 1), which fills the gaps.
ALIGN_CODE = code_digest("align", "bench/bootstrap.py", "configs/topics.yaml", "configs/topics.py")


rule draw_prompts:
    """Training and test prompts of one configuration."""
    input:
        config="config/safety_configs/{config_id}.yaml",
        settings="<out>/config/align.yaml",
    output:
        expand("<out>/align/{{config_id}}/prompts/{part}.jsonl", part=["train", "test"]),
    log:
        "<out>/logs/draw_prompts/{config_id}.log",
    conda:
        "../envs/core.yaml"
    params:
        folder=lambda w: f"{S.outdir}/align/{w.config_id}/prompts",
        seed=S.seed,
        code=ALIGN_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm align-prompts --safety-config {input.config:q} --settings {input.settings:q} \
            --seed {params.seed} --output-dir {params.folder}
        """


rule sample_responses:
    """Responses of the policy before alignment, to training or test prompts."""
    input:
        policy=ancient(f"{backbone(S.align.policy)}/manifest.json"),
        prompts="<out>/align/{config_id}/prompts/{part}.jsonl",
        config="config/safety_configs/{config_id}.yaml",
        settings="<out>/config/align.yaml",
    output:
        "<out>/align/{config_id}/before/{part}.jsonl",
    log:
        "<out>/logs/sample_responses/{config_id}.{part}.log",
    benchmark:
        "<out>/benchmarks/sample_responses/{config_id}.{part}.tsv"
    priority: 1
    conda:
        "../envs/core.yaml"
    threads: MODEL_THREADS
    params:
        policy=backbone(S.align.policy),
        samples=lambda w: S.align.samples if w.part == "train" else S.align.test_samples,
        seed=S.seed,
        code=ALIGN_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm sample --policy {params.policy} --prompts {input.prompts:q} --safety-config {input.config:q} \
            --samples {params.samples} --settings {input.settings:q} --seed {params.seed} --output {output:q}
        """


rule make_reward_items:
    """Sampled responses as items for the reward model."""
    input:
        samples="<out>/align/{config_id}/before/{part}.jsonl",
        config="config/safety_configs/{config_id}.yaml",
    output:
        "<out>/align/{config_id}/items/{part}.jsonl",
    log:
        "<out>/logs/make_reward_items/{config_id}.{part}.log",
    priority: 1
    conda:
        "../envs/core.yaml"
    params:
        code=ALIGN_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm preference-items --samples {input.samples:q} --safety-config {input.config:q} --output {output:q}
        """


rule score_responses:
    """Rewards of sampled responses by one reward model: to training prompts for pairs, to test prompts for the sweep."""
    input:
        asked="<out>/align/{config_id}/items/{part}.jsonl",
        model=lambda w: f"{scorer(w.reward)}/manifest.json",
        settings="<out>/config/score.yaml",
        train_settings=lambda w: train_slice(w.reward),
        place=ancient("<out>/config/backend.yaml"),
    output:
        "<out>/align/{config_id}/rewards/{reward}/{part}.jsonl",
    log:
        "<out>/logs/score_responses/{reward}/{config_id}.{part}.log",
    priority: 1
    conda:
        "../envs/core.yaml"
    threads: MODEL_THREADS
    params:
        model=lambda w: scorer(w.reward),
        code=code_digest("model", "configs/render.py"),
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm score-items --model {params.model} --items {input.asked:q} --settings {input.settings:q} \
            --train-settings {input.train_settings:q} --backend-settings {input.place:q} \
            --served {wildcards.reward} --output {output:q}
        """


rule label_preferences:
    """Chosen and rejected responses by P(safe) x helpfulness (section 4.4)."""
    input:
        samples="<out>/align/{config_id}/before/train.jsonl",
        scores="<out>/align/{config_id}/rewards/{reward}/train.jsonl",
        config="config/safety_configs/{config_id}.yaml",
        helpfulness=helpfulness_files(S.helpfulness.reward),
        settings="<out>/config/align.yaml",
    output:
        "<out>/align/{config_id}/preferences/{reward}.jsonl",
    log:
        "<out>/logs/label_preferences/{reward}/{config_id}.log",
    priority: 1
    conda:
        "../envs/core.yaml"
    params:
        helpfulness=helpfulness_option(S.helpfulness.reward),
        seed=S.seed,
        code=ALIGN_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm prefer --samples {input.samples:q} --scores {input.scores:q} --safety-config {input.config:q} \
            {params.helpfulness} --settings {input.settings:q} --seed {params.seed} --output {output:q}
        """


rule train_policy:
    """The policy trained on one reward's preferences, by DPO or Reward Distillation (a LoRA adapter)."""
    input:
        policy=ancient(f"{backbone(S.align.policy)}/manifest.json"),
        preferences="<out>/align/{config_id}/preferences/{reward}.jsonl",
        settings="<out>/config/align.yaml",
    output:
        "<out>/models/policy/{algorithm}/{reward}/{config_id}/manifest.json",
    log:
        "<out>/logs/train_policy/{algorithm}/{reward}/{config_id}.log",
    benchmark:
        "<out>/benchmarks/train_policy/{algorithm}/{reward}/{config_id}.tsv"
    wildcard_constraints:
        algorithm="dpo|reward-distillation",
    priority: 1
    conda:
        "../envs/core.yaml"
    threads: MODEL_THREADS
    params:
        policy=backbone(S.align.policy),
        folder=lambda w: f"{S.outdir}/models/policy/{w.algorithm}/{w.reward}/{w.config_id}",
        scratch=lambda w: f"{S.outdir}/scratch/policy/{w.algorithm}/{w.reward}/{w.config_id}",
        seed=S.seed,
        code=ALIGN_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm train-policy --algorithm {wildcards.algorithm} --policy {params.policy} --preferences {input.preferences:q} \
            --settings {input.settings:q} --seed {params.seed} --scratch {params.scratch} --output {params.folder}
        """


rule train_policy_online:
    """The policy trained on the reward of its own responses, by REINFORCE++ (a LoRA adapter)."""
    input:
        policy=ancient(f"{backbone(S.align.policy)}/manifest.json"),
        prompts="<out>/align/{config_id}/prompts/train.jsonl",
        config="config/safety_configs/{config_id}.yaml",
        model=lambda w: f"{scorer(w.reward)}/manifest.json",
        helpfulness=helpfulness_files(S.helpfulness.reward),
        settings="<out>/config/align.yaml",
        score_settings="<out>/config/score.yaml",
        train_settings=lambda w: train_slice(w.reward),
    output:
        "<out>/models/policy/reinforce/{reward}/{config_id}/manifest.json",
    log:
        "<out>/logs/train_policy_online/{reward}/{config_id}.log",
    benchmark:
        "<out>/benchmarks/train_policy_online/{reward}/{config_id}.tsv"
    priority: 1
    conda:
        "../envs/core.yaml"
    threads: MODEL_THREADS
    params:
        policy=backbone(S.align.policy),
        model=lambda w: scorer(w.reward),
        helpfulness=helpfulness_option(S.helpfulness.reward),
        folder=lambda w: f"{S.outdir}/models/policy/reinforce/{w.reward}/{w.config_id}",
        scratch=lambda w: f"{S.outdir}/scratch/policy/reinforce/{w.reward}/{w.config_id}",
        seed=S.seed,
        code=ALIGN_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm train-policy-online --policy {params.policy} --prompts {input.prompts:q} \
            --safety-config {input.config:q} --model {params.model} {params.helpfulness} \
            --settings {input.settings:q} --score-settings {input.score_settings:q} \
            --train-settings {input.train_settings:q} --seed {params.seed} --scratch {params.scratch} \
            --output {params.folder}
        """


rule generate_after:
    """Responses of the aligned policy to the test prompts."""
    input:
        policy=ancient(f"{backbone(S.align.policy)}/manifest.json"),
        adapter="<out>/models/policy/{algorithm}/{reward}/{config_id}/manifest.json",
        prompts="<out>/align/{config_id}/prompts/test.jsonl",
        config="config/safety_configs/{config_id}.yaml",
        settings="<out>/config/align.yaml",
    output:
        "<out>/align/{config_id}/after/{algorithm}/{reward}.jsonl",
    log:
        "<out>/logs/generate_after/{algorithm}/{reward}/{config_id}.log",
    priority: 1
    conda:
        "../envs/core.yaml"
    threads: MODEL_THREADS
    params:
        policy=backbone(S.align.policy),
        adapter=lambda w: f"{S.outdir}/models/policy/{w.algorithm}/{w.reward}/{w.config_id}",
        samples=S.align.test_samples,
        seed=S.seed,
        code=ALIGN_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm sample --policy {params.policy} --adapter {params.adapter} --prompts {input.prompts:q} \
            --safety-config {input.config:q} --samples {params.samples} --settings {input.settings:q} \
            --seed {params.seed} --output {output:q}
        """


rule judge_responses:
    """Compliance by lexicon, helpfulness by `helpfulness.judge`: no reward model that was optimised takes part."""
    input:
        generations="<out>/align/{config_id}/{generated}.jsonl",
        config="config/safety_configs/{config_id}.yaml",
        helpfulness=helpfulness_files(S.helpfulness.judge),
    output:
        "<out>/judgements/{config_id}/{generated}.jsonl",
    log:
        "<out>/logs/judge_responses/{config_id}/{generated}.log",
    wildcard_constraints:
        generated=r"before/test|after/[\w-]+/[\w-]+",
    priority: 1
    conda:
        "../envs/core.yaml"
    params:
        helpfulness=helpfulness_option(S.helpfulness.judge),
        code=ALIGN_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm judge --generations {input.generations:q} --safety-config {input.config:q} \
            {params.helpfulness} --output {output:q}
        """


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


rule sweep_pareto:
    """Safety and helpfulness as the safety logits are shifted (Figure 4)."""
    input:
        samples="<out>/align/{config_id}/before/test.jsonl",
        scores="<out>/align/{config_id}/rewards/{reward}/test.jsonl",
        judgements="<out>/judgements/{config_id}/before/test.jsonl",
        settings="<out>/config/align.yaml",
        metric_settings="<out>/config/metrics.yaml",
    output:
        "<out>/metrics/pareto/{reward}/{config_id}.json",
    log:
        "<out>/logs/sweep_pareto/{reward}/{config_id}.log",
    conda:
        "../envs/core.yaml"
    params:
        seed=S.seed,
        scale=S.scale,
        code=ALIGN_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm pareto --samples {input.samples:q} --scores {input.scores:q} --judgements {input.judgements:q} \
            --settings {input.settings:q} --metric-settings {input.metric_settings:q} --seed {params.seed} \
            --config-id {wildcards.config_id} --reward {wildcards.reward} --scale {params.scale} --output {output:q}
        """
