# Purpose: CoSAlign (CoSA, Algorithm 1) and its evaluation: label, pair, fine-tune, prefer, answer, judge.
# Inputs:  <out>/models/ (the policy), src/csrm/configs/topics.yaml, or <out>/interim/rows/ of data sets labelled with harms
# Outputs: <out>/<chain>/, <out>/models/<chain>/, <out>/metrics/cosa.json; <chain> is cosa, or cosa+seed-<n>
COSA_CODE = code_digest(
    "cosa",
    "align",
    "bench/bootstrap.py",
    "configs/topics.yaml",
    "configs/topics.py",
    "configs/taxonomies/cosalign.yaml",
    "augment/llm.py",
)
COSA_POLICY = backbone(S.cosa.policy)
# The taxonomy of harms has its prompts and labelled responses from data sets.
HARMS = S.cosa.taxonomy == "cosalign"


def cosa_seed(wildcards):
    """Seed of a chain: responses, pairs, training, answers; prompts are the same for all."""
    seed = S.cosa.runs()[wildcards.chain]
    return S.seed if seed is None else seed


def labelled_by(chain):
    """Labelled responses of a chain: your own, those of data sets, or sampled and labelled here."""
    return S.cosa.responses or f"{S.outdir}/{'cosa/imported' if HARMS else f'{chain}/labelled'}.jsonl"


# Adapters that a method's answers come from, in the order in which they are merged.
COSA_ADAPTERS = {"ica": [], "ica-5shot": [], "sft": ["finetuned"], "cosalign": ["finetuned", "preferred"]}


rule draw_cosa_prompts:
    """Training and test prompts of CoSAlign, which share none."""
    input:
        rows=f"<out>/interim/rows/{S.cosa.test_data}.jsonl" if HARMS else [],
        settings="<out>/config/cosa.yaml",
    output:
        expand("<out>/cosa/prompts/{part}.jsonl", part=["train", "test"]),
    log:
        "<out>/logs/draw_cosa_prompts.log",
    conda:
        "../envs/core.yaml"
    params:
        rows=lambda w, input: f"--rows {input.rows}" if input.rows else "",
        folder=f"{S.outdir}/cosa/prompts",
        seed=S.seed,
        code=COSA_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm cosalign-prompts {params.rows} --settings {input.settings:q} --seed {params.seed} \
            --output-dir {params.folder}
        """


rule import_responses:
    """Responses that data sets label with harms, as labelled responses of CoSAlign's taxonomy."""
    input:
        rows=expand("<out>/interim/rows/{dataset}.jsonl", dataset=S.cosa.data),
        tested="<out>/cosa/prompts/test.jsonl",
        settings="<out>/config/cosa.yaml",
        data_settings="<out>/config/data.yaml",
    output:
        "<out>/cosa/imported.jsonl",
    log:
        "<out>/logs/import_responses.log",
    conda:
        "../envs/core.yaml"
    params:
        code=COSA_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm cosalign-import --rows {input.rows:q} --test-prompts {input.tested:q} --settings {input.settings:q} \
            --data-settings {input.data_settings:q} --output {output:q}
        """


rule label_responses:
    """Responses of the policy to training prompts, bare and under drawn configurations, with their labels."""
    input:
        policy=ancient(f"{COSA_POLICY}/manifest.json"),
        prompts="<out>/cosa/prompts/train.jsonl",
        settings="<out>/config/cosa.yaml",
    output:
        "<out>/{chain}/labelled.jsonl",
    log:
        "<out>/logs/label_responses/{chain}.log",
    benchmark:
        "<out>/benchmarks/label_responses/{chain}.tsv"
    conda:
        "../envs/core.yaml"
    threads: MODEL_THREADS
    params:
        policy=COSA_POLICY,
        seed=cosa_seed,
        code=COSA_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm cosalign-label --policy {params.policy} --prompts {input.prompts:q} --settings {input.settings:q} \
            --seed {params.seed} --output {output:q}
        """


rule pair_responses:
    """Preference pairs by error score under drawn configurations (Algorithm 1)."""
    input:
        responses=lambda w: labelled_by(w.chain),
        tested="<out>/cosa/prompts/test.jsonl",
        settings="<out>/config/cosa.yaml",
    output:
        "<out>/{chain}/pairs.jsonl",
    log:
        "<out>/logs/pair_responses/{chain}.log",
    conda:
        "../envs/core.yaml"
    params:
        seed=cosa_seed,
        code=COSA_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm cosalign-pairs --responses {input.responses:q} --test-prompts {input.tested:q} \
            --settings {input.settings:q} --seed {params.seed} --output {output:q}
        """


rule finetune_cosalign:
    """The policy fine-tuned on chosen responses (a LoRA adapter)."""
    input:
        policy=ancient(f"{COSA_POLICY}/manifest.json"),
        pairs="<out>/{chain}/pairs.jsonl",
        settings="<out>/config/cosa.yaml",
    output:
        "<out>/models/{chain}/finetuned/manifest.json",
    log:
        "<out>/logs/finetune_cosalign/{chain}.log",
    benchmark:
        "<out>/benchmarks/finetune_cosalign/{chain}.tsv"
    conda:
        "../envs/core.yaml"
    threads: MODEL_THREADS
    params:
        policy=COSA_POLICY,
        folder=lambda w: f"{S.outdir}/models/{w.chain}/finetuned",
        scratch=lambda w: f"{S.outdir}/scratch/{w.chain}/finetuned",
        seed=cosa_seed,
        code=COSA_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm cosalign-finetune --policy {params.policy} --pairs {input.pairs:q} --settings {input.settings:q} \
            --seed {params.seed} --scratch {params.scratch} --output {params.folder}
        """


rule prefer_cosalign:
    """The fine-tuned policy trained by DPO (a second LoRA adapter)."""
    input:
        policy=ancient(f"{COSA_POLICY}/manifest.json"),
        pairs="<out>/{chain}/pairs.jsonl",
        tuned="<out>/models/{chain}/finetuned/manifest.json",
        settings="<out>/config/cosa.yaml",
    output:
        "<out>/models/{chain}/preferred/manifest.json",
    log:
        "<out>/logs/prefer_cosalign/{chain}.log",
    benchmark:
        "<out>/benchmarks/prefer_cosalign/{chain}.tsv"
    conda:
        "../envs/core.yaml"
    threads: MODEL_THREADS
    params:
        policy=COSA_POLICY,
        tuned=lambda w: f"{S.outdir}/models/{w.chain}/finetuned",
        folder=lambda w: f"{S.outdir}/models/{w.chain}/preferred",
        scratch=lambda w: f"{S.outdir}/scratch/{w.chain}/preferred",
        seed=cosa_seed,
        code=COSA_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm cosalign-prefer --policy {params.policy} --tuned {params.tuned} --pairs {input.pairs:q} \
            --settings {input.settings:q} --seed {params.seed} --scratch {params.scratch} --output {params.folder}
        """


rule answer_tests:
    """A method's answers to the test prompts under every test configuration."""
    input:
        policy=ancient(f"{COSA_POLICY}/manifest.json"),
        adapters=lambda w: [f"{S.outdir}/models/{w.chain}/{name}/manifest.json" for name in COSA_ADAPTERS[w.method]],
        examples=lambda w: [labelled_by(w.chain)] * (w.method == "ica-5shot"),
        prompts="<out>/cosa/prompts/test.jsonl",
        settings="<out>/config/cosa.yaml",
    output:
        "<out>/{chain}/answers/{method}.jsonl",
    log:
        "<out>/logs/answer_tests/{chain}/{method}.log",
    benchmark:
        "<out>/benchmarks/answer_tests/{chain}/{method}.tsv"
    conda:
        "../envs/core.yaml"
    threads: MODEL_THREADS
    params:
        policy=COSA_POLICY,
        adapters=lambda w: " ".join(
            ["--adapters"] * bool(COSA_ADAPTERS[w.method])
            + [f"{S.outdir}/models/{w.chain}/{name}" for name in COSA_ADAPTERS[w.method]]
        ),
        examples=lambda w, input: f"--examples {input.examples}" if input.examples else "",
        seed=cosa_seed,
        code=COSA_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm cosalign-answer --policy {params.policy} {params.adapters} {params.examples} \
            --prompts {input.prompts:q} --settings {input.settings:q} --seed {params.seed} --output {output:q}
        """


rule judge_itself:
    """The policy's own verdicts on its answers, for the cascade."""
    input:
        answers="<out>/{chain}/answers/ica.jsonl",
        policy=ancient(f"{COSA_POLICY}/manifest.json"),
        settings="<out>/config/cosa.yaml",
        score_settings="<out>/config/score.yaml",
        train_settings="<out>/config/train.yaml",
    output:
        asked="<out>/{chain}/own/items.jsonl",
        scores="<out>/{chain}/own/scores.jsonl",
    log:
        "<out>/logs/judge_itself/{chain}.log",
    conda:
        "../envs/core.yaml"
    threads: MODEL_THREADS
    params:
        policy=COSA_POLICY,
        code=COSA_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm cosalign-items --answers {input.answers:q} --settings {input.settings:q} --output {output.asked:q}
        csrm score-items --model {params.policy} --items {output.asked:q} --settings {input.score_settings:q} \
            --train-settings {input.train_settings:q} --output {output.scores:q}
        """


rule judge_answers:
    """Compliance and helpfulness: by lexicon and a proxy, or by a language model."""
    input:
        answers="<out>/{chain}/answers/{method}.jsonl",
        encoder=ancient(ENCODER_FILES),
        settings="<out>/config/cosa.yaml",
    output:
        "<out>/{chain}/verdicts/{method}.jsonl",
    log:
        "<out>/logs/judge_answers/{chain}/{method}.log",
    conda:
        "../envs/core.yaml"
    params:
        encoder=ENCODER,
        code=COSA_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm cosalign-judge --answers {input.answers:q} --encoder {params.encoder} --settings {input.settings:q} \
            --output {output:q}
        """


rule evaluate_cosa:
    """CoSA-Score and outcome shares of every method, on seen and unseen configurations, and means over seeds."""
    input:
        verdicts=expand("<out>/{chain}/verdicts/{method}.jsonl", chain=S.cosa.runs(), method=COSA_ADAPTERS),
        own=expand("<out>/{chain}/own/scores.jsonl", chain=S.cosa.runs()),
        responses=sorted({labelled_by(chain) for chain in S.cosa.runs()}),
        trained=expand(
            "<out>/models/{chain}/{stage}/manifest.json", chain=S.cosa.runs(), stage=COSA_ADAPTERS["cosalign"]
        ),
        settings="<out>/config/metrics.yaml",
    output:
        "<out>/metrics/cosa.json",
    log:
        "<out>/logs/evaluate_cosa.log",
    conda:
        "../envs/core.yaml"
    params:
        seed=S.seed,
        seeds=[S.seed, *S.cosa.seeds],
        trained=[f"{S.outdir}/models/{chain}/{stage}" for chain in S.cosa.runs() for stage in COSA_ADAPTERS["cosalign"]],
        scale=S.scale,
        judge=S.cosa.judge,
        taxonomy=S.cosa.taxonomy,
        code=COSA_CODE,
    shell:
        r"""
        exec &> >(tee {log:q})
        csrm cosalign-evaluate --verdicts {input.verdicts:q} --own-scores {input.own:q} \
            --responses {input.responses:q} --trained {params.trained:q} --seeds {params.seeds} \
            --judge {params.judge} --taxonomy {params.taxonomy} --settings {input.settings:q} --seed {params.seed} \
            --scale {params.scale} --output {output:q}
        """
