# Purpose: score sampled responses by each reward: a reward model, a baseline, or a guard.
# Inputs:  <out>/align/<config_id>/{before,after}/, <out>/models/ (rewards), config/guards.tsv
# Outputs: <out>/align/<config_id>/{items,rewards/<reward>}/


rule make_reward_items:
    """Sampled responses as items for the reward model."""
    input:
        samples=lambda w: f"{S.outdir}/align/{w.config_id}/{answers(w.part)}",
        config=safety_config,
    output:
        "<out>/align/{config_id}/items/{part}.jsonl",
    log:
        "<out>/logs/make_reward_items/{config_id}.{part}.log",
    wildcard_constraints:
        part=ANSWERED,
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
    """Rewards by one model: of responses to training prompts for pairs, to test prompts for sweep and checkpoints."""
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
    wildcard_constraints:
        part=ANSWERED,
        reward=either(sorted({*S.align.rewards, *S.align.swept} - {*BASELINES, *GUARDS})),
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


# A baseline as the reward; one that does not read the configuration is a fixed taxonomy.
use rule score_baseline as score_responses_baseline with:
    input:
        asked="<out>/align/{config_id}/items/{part}.jsonl",
        encoder=ancient(ENCODER_FILES),
        fitted=lambda w: f"{S.outdir}/models/baselines/{w.baseline}.joblib" if w.baseline in TRAINED else [],
    output:
        "<out>/align/{config_id}/rewards/{baseline}/{part}.jsonl",
    log:
        "<out>/logs/score_responses_baseline/{baseline}/{config_id}.{part}.log",
    wildcard_constraints:
        part=ANSWERED,
    priority: 1


# A guard as the reward, by the scorer of benchmarks.
use rule score_guard as score_responses_guard with:
    input:
        asked="<out>/align/{config_id}/items/{part}.jsonl",
        model=lambda w: guard_weights(w.guard),
        table=ancient("config/guards.tsv"),
        settings="<out>/config/score.yaml",
        place=ancient("<out>/config/backend.yaml"),
    output:
        "<out>/align/{config_id}/rewards/{guard}/{part}.jsonl",
    log:
        "<out>/logs/score_responses_guard/{guard}/{config_id}.{part}.log",
    benchmark:
        "<out>/benchmarks/score_responses_guard/{guard}/{config_id}.{part}.tsv"
    wildcard_constraints:
        part=ANSWERED,
    priority: 1
