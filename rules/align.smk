# Purpose: align the policy with each reward: sample, pair, train by each algorithm; judge.
# Inputs:  <out>/models/, config/safety_configs/<configuration>.yaml; <config_id> is a configuration, or one `+seed-<n>`
# Outputs: <out>/align/<config_id>/, <out>/models/policy/<algorithm>/<reward>/<config_id>/, <out>/judgements/<config_id>/
# Its long chain goes before scoring (priority 1), which fills the gaps.
ALIGN_CODE = code_digest("align", "bench/bootstrap.py", "bench/cosa.py", "configs/topics.yaml", "configs/topics.py")
# Policies kept before the end of training: models/policy/<algorithm>+checkpoint-<n>/.
KEPT = range(1, S.align.checkpoints)
# Whose answers: a reward's policy, or <reward>@<configuration> for one that was trained under another configuration.
ANSWERING = f"({either(S.align.rewards)})(@({either(S.align.configs)}))?"
# What a policy answered: prompts before alignment, or <algorithm>/<reward> after it.
ANSWERED = f"train|test|({either(ALIGNED)})/({either(S.align.rewards)})"


def safety_config(wildcards):
    """File of a run's configuration: `no-pets+seed-1` is a run of no-pets."""
    return f"config/safety_configs/{S.align.runs()[wildcards.config_id][0]}.yaml"


def align_seed(wildcards):
    """Seed of a run of alignment: responses, pairs, training, answers."""
    seed = S.align.runs()[wildcards.config_id][1]
    return S.seed if seed is None else seed


def prompts(wildcards, part):
    """Training or test prompts, the same for all seeds."""
    return f"{S.outdir}/align/{S.align.runs()[wildcards.config_id][0]}/prompts/{part}.jsonl"


def answers(part):
    """Place of the responses below <out>/align/<config_id>/: before/test, after/dpo/csrm."""
    return f"{'before' if part in ('train', 'test') else 'after'}/{part}.jsonl"


def checkpoint_option(algorithm, wildcards):
    """`--checkpoints DIR...` of a training that keeps policies on its way."""
    names = S.align.kept(algorithm)
    folders = [f"{S.outdir}/models/policy/{name}/{wildcards.reward}/{wildcards.config_id}" for name in names]
    return f"--checkpoints {' '.join(folders)}" if folders else ""


# The policy writes its own prompts where the settings name no other model.
GENERATED = S.align.prompts == "generated" and S.align.llm.model is None
WRITER = ancient(f"{backbone(S.align.policy)}/manifest.json") if GENERATED else []
PROMPT_ROWS = f"{S.outdir}/interim/rows/{S.align.prompt_data}.jsonl" if S.align.prompts == "data" else []
TEST_ROWS = f"{S.outdir}/interim/rows/{S.align.test_data}.jsonl" if S.align.test_data else []


rule draw_prompts:
    """Training and test prompts of one configuration."""
    input:
        config="config/safety_configs/{config_id}.yaml",
        encoder=ancient(ENCODER_FILES),
        llm=WRITER,
        rows=PROMPT_ROWS,
        test_rows=TEST_ROWS,
        settings="<out>/config/align.yaml",
    output:
        expand("<out>/align/{{config_id}}/prompts/{part}.jsonl", part=["train", "test"]),
    log:
        "<out>/logs/draw_prompts/{config_id}.log",
    wildcard_constraints:
        config_id=either([*S.align.configs, *S.align.tested]),
    conda:
        "../envs/core.yaml"
    params:
        encoder=ENCODER,
        llm=f"--llm {backbone(S.align.policy)}" if WRITER else "",
        rows=f"--rows {PROMPT_ROWS}" if PROMPT_ROWS else "",
        test_rows=f"--test-rows {TEST_ROWS}" if TEST_ROWS else "",
        folder=lambda w: f"{S.outdir}/align/{w.config_id}/prompts",
        seed=S.seed,
        code=ALIGN_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm align-prompts --safety-config {input.config:q} --encoder {params.encoder} {params.llm} {params.rows} \
            {params.test_rows} --settings {input.settings:q} --seed {params.seed} --output-dir {params.folder}
        """


rule sample_responses:
    """Responses of the policy before alignment, to training or test prompts."""
    input:
        policy=ancient(f"{backbone(S.align.policy)}/manifest.json"),
        prompts=lambda w: prompts(w, w.part),
        config=safety_config,
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
        seed=align_seed,
        code=ALIGN_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm sample --policy {params.policy} --prompts {input.prompts:q} --safety-config {input.config:q} \
            --samples {params.samples} --settings {input.settings:q} --seed {params.seed} --output {output:q}
        """


rule label_preferences:
    """Chosen and rejected responses by P(safe) x helpfulness (section 4.4)."""
    input:
        samples="<out>/align/{config_id}/before/train.jsonl",
        scores="<out>/align/{config_id}/rewards/{reward}/train.jsonl",
        config=safety_config,
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
        seed=align_seed,
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
        expand("<out>/models/policy/{{algorithm}}+checkpoint-{n}/{{reward}}/{{config_id}}/manifest.json", n=KEPT),
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
        checkpoints=lambda w: checkpoint_option(w.algorithm, w),
        seed=align_seed,
        code=ALIGN_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm train-policy --algorithm {wildcards.algorithm} --policy {params.policy} --preferences {input.preferences:q} \
            --settings {input.settings:q} --seed {params.seed} --scratch {params.scratch} {params.checkpoints} \
            --output {params.folder}
        """


def reward_source(wildcards):
    """What a reward is loaded from: a model, a guard's weights, a fitted baseline, or nothing."""
    if wildcards.reward in GUARDS:
        return guard_weights(wildcards.reward)
    if wildcards.reward in BASELINES:
        return [f"{S.outdir}/models/baselines/{wildcards.reward}.joblib"] if wildcards.reward in TRAINED else []
    return f"{scorer(wildcards.reward)}/manifest.json"


def reward_option(wildcards, input):
    """`--model DIR`, `--guard ID` with its folder, or `--baseline NAME` with what it needs."""
    if wildcards.reward in GUARDS:
        return f"--guard {wildcards.reward} --guard-model {S.score.guards}/{wildcards.reward}"
    if wildcards.reward not in BASELINES:
        return f"--model {scorer(wildcards.reward)}"
    fitted = f"--fitted {input.model}" if input.model else ""
    return f"--baseline {wildcards.reward} --baseline-encoder {ENCODER} {fitted}"


rule train_policy_online:
    """The policy trained on the reward of its own responses, by REINFORCE++ (a LoRA adapter)."""
    input:
        policy=ancient(f"{backbone(S.align.policy)}/manifest.json"),
        prompts=lambda w: prompts(w, "train"),
        config=safety_config,
        model=reward_source,
        encoder=ancient(ENCODER_FILES),
        helpfulness=helpfulness_files(S.helpfulness.reward),
        settings="<out>/config/align.yaml",
        score_settings="<out>/config/score.yaml",
        train_settings=lambda w: train_slice(w.reward),
    output:
        "<out>/models/policy/reinforce/{reward}/{config_id}/manifest.json",
        expand("<out>/models/policy/reinforce+checkpoint-{n}/{{reward}}/{{config_id}}/manifest.json", n=KEPT),
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
        reward=reward_option,
        helpfulness=helpfulness_option(S.helpfulness.reward),
        folder=lambda w: f"{S.outdir}/models/policy/reinforce/{w.reward}/{w.config_id}",
        scratch=lambda w: f"{S.outdir}/scratch/policy/reinforce/{w.reward}/{w.config_id}",
        checkpoints=lambda w: checkpoint_option("reinforce", w),
        seed=align_seed,
        code=ALIGN_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm train-policy-online --policy {params.policy} --prompts {input.prompts:q} \
            --safety-config {input.config:q} {params.reward} {params.helpfulness} \
            --settings {input.settings:q} --score-settings {input.score_settings:q} \
            --train-settings {input.train_settings:q} --seed {params.seed} --scratch {params.scratch} \
            {params.checkpoints} --output {params.folder}
        """


rule judge_responses:
    """Compliance by `align.judge`, helpfulness by `helpfulness.judge`: no reward model that was optimised takes part."""
    input:
        generations="<out>/align/{config_id}/{generated}.jsonl",
        config=safety_config,
        helpfulness=helpfulness_files(S.helpfulness.judge),
        settings="<out>/config/align.yaml",
    output:
        "<out>/judgements/{config_id}/{generated}.jsonl",
    log:
        "<out>/logs/judge_responses/{config_id}/{generated}.log",
    wildcard_constraints:
        generated=f"before/test|after/({either(ALIGNED)})/{ANSWERING}",
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
            {params.helpfulness} --settings {input.settings:q} --output {output:q}
        """
