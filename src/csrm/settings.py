"""All settings, one pydantic model per stage: types, bounds, a sentence of description, and the demo's defaults.

`config/config.yaml` and `config/schema.json` are generated from these models (`csrm settings`); a scale is an
overlay in `config/scales/<scale>.yaml`. Unknown keys are errors. Lists are replaced by an overlay, mappings merged.
"""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, ValidationError, field_validator, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
DType = Literal["auto", "float32", "bfloat16"]
ParseFailure = Literal["wrong", "unsafe", "safe", "exclude"]
SEED_MARK = "+seed-"
"""Between a variant and the further seed that it is trained with: `csrm+seed-1`."""
SectionOrder = Literal["conversation-first", "config-first", "config-last"]


class Section(BaseModel):
    """Base of all settings: unknown keys are errors; `selection` names the fields that say what is made, not how."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    selection: ClassVar[frozenset[str]] = frozenset()


class DataSettings(Section):
    """Which rows are read and how they are split, before any augmentation."""

    train: list[str] = Field(["pyrit-harm"], description="data sets of labelled conversations to train on")
    response_pairs: list[str] = Field([], description="data sets of response pairs (RM items) to train on")
    held_out: list[str] = Field(
        ["privacy", "self_harm", "gambling", "pets", "travel"],
        description="families that appear in no training text: neither their conversations nor their categories",
    )
    test_share: Share = Field(0.25, description="share of prompts kept for the test split")
    validation_share: Share = Field(0.08, description="share of prompts kept for the validation split")
    row_cap: int | None = Field(None, ge=1, description="at most so many rows a data set (None: all)")
    max_response_words: int = Field(60, ge=1, description="responses are cut to so many words, and counted")
    max_prompt_words: int = Field(40, ge=1, description="longer prompts keep their last so many words, and are counted")


class LLMSettings(Section):
    """Where the LLM backend of the proposers, classifiers and judges runs."""

    model: str | None = Field(None, description="model id of the endpoint, or a local transformers folder")
    base_url: str | None = Field(None, description="OpenAI-compatible endpoint (None: run `model` locally)")
    max_tokens: int = Field(512, ge=1, description="longest answer, tokens")
    temperature: float = Field(0.0, ge=0, description="sampling temperature")
    retries: int = Field(3, ge=0, description="further tries after an answer that does not parse")
    structured: bool = Field(True, description="answers must follow the prompt's JSON schema; false: as they come")


class AugmentSettings(Section):
    """Configuration augmentation (CCA, section 3.2) and strictness augmentation (SA, Algorithm 1)."""

    selection = frozenset({"compared"})
    cca_backend: Literal["bank", "llm"] = Field("bank", description="who proposes p+ and p-: the bank, or `llm`")
    sa_backend: Literal["bank", "llm"] = Field("bank", description="who runs Algorithm 1: the bank or levels, or `llm`")
    llm: LLMSettings = LLMSettings()
    standard_threshold: Share = Field(0.5, description="severity from which a standard guideline calls it unsafe")
    held_out_thresholds: list[float] = Field([0.75], description="severity thresholds that no training text uses")
    drop_rate: Share = Field(0.5, description="probability of dropping each category of p (CCA step i)")
    insert_positive: Share = Field(1.0, description="probability of inserting p+ into the unsafe configuration")
    insert_negative: Share = Field(0.7, description="probability of inserting p- into a configuration")
    matched_negatives: Share = Field(1.0, description="share of p- that are drawn as often as they were p+ elsewhere")
    max_categories: int = Field(2, ge=1, description="largest number of categories in a generated configuration")
    max_standard: int = Field(3, ge=1, description="largest number of categories of a standard configuration (base)")
    guideline_rate: Share = Field(0.2, description="probability that a bank category is shown with its guideline")
    paraphrase_rate: Share = Field(0.5, description="probability that a bank category is shown under its other name")
    permit_rate: Share = Field(
        0.0, description="share of contrasts that permit, in words, what the other configuration forbids"
    )
    semantic: bool = Field(
        True, description="choose p+ and p- by meaning; false: at random among those that the labels allow"
    )
    bank_size: int | None = Field(
        None, ge=1, description="bank categories that CCA draws from: a sample stratified by family (None: all)"
    )
    contrasts: int = Field(4, ge=1, description="unsafe/safe contrasts per conversation, p+ and own category in turn")
    keep_uncontrasted: Share = Field(
        0.2, description="share kept of CCA's conversations whose configurations all give one label"
    )
    both_labels: bool = Field(
        True, description="keep the safe and the unsafe configurations of a conversation; false: those of one label"
    )
    contrast_pairs: bool = Field(True, description="rank each safe above each unsafe branch of a conversation in L_rm")
    alpha: float = Field(0.05, gt=0, lt=1, description="level of the one-sided Clopper-Pearson bound (Definition 3.1)")
    dominance: float = Field(0.85, gt=0, lt=1, description="bound that a strict/lenient pair must exceed (paper: .95)")
    pool: int = Field(200, ge=1, description="largest D_p of a category, in conversations, where `pools` has no other")
    pools: dict[str, Annotated[int, Field(ge=1)]] = Field(
        {"beavertails": 200, "wildguard": 100}, description="largest D_p of a category by taxonomy, as in the paper"
    )
    pairs_per_conversation: int = Field(1, ge=1, description="strict/lenient pairs attached to one conversation")
    compared: int | None = Field(
        None,
        ge=1,
        description="conversations that bank and language model are compared on as proposers (None: left out)",
    )

    @field_validator("pools")
    @classmethod
    def _known_taxonomies(cls, pools: dict[str, int]) -> dict[str, int]:
        known = sorted(path.stem for path in (Path(__file__).parent / "configs" / "taxonomies").glob("*.yaml"))
        if unknown := sorted(set(pools) - set(known)):
            raise ValueError(f"augment.pools names taxonomies that do not exist: {unknown}; known: {known}")
        return pools


class VerbalizerSettings(Section):
    """The answer words whose first tokens are summed (section 3.3); recorded with the model, used when scoring."""

    safe: list[str] = Field(["safe", " safe", "Safe"], min_length=1, description="Y_safe")
    unsafe: list[str] = Field(["unsafe", " unsafe", "Unsafe"], min_length=1, description="Y_unsafe")


class TrainSettings(Section):
    """CSRM training (section 3.3)."""

    selection = frozenset({"variants", "seeds"})
    backbone: str = Field("smollm2-135m-instruct", description="model id in config/models.tsv")
    variants: list[str] = Field(
        ["csrm", "csrm-no-cca", "csrm-no-sa"],
        min_length=1,
        description="variants in config/variants.yaml to train, the reference first",
    )
    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        [], description="further seeds that every variant is trained with, for the table of seeds"
    )
    cca: bool = Field(True, description="train on configuration augmentation")
    sa: bool = Field(True, description="train on strictness augmentation")
    seed: int | None = Field(None, ge=0, description="seed of the mixture and of training (None: the run's)")
    shares: dict[Literal["base", "cca", "sa", "response"], NonNegativeFloat] = Field(
        {"base": 1.0, "cca": 2.0, "sa": 1.0, "response": 0.5},
        description="weight of each source: in the loss of its conversation, or in the mixture",
    )
    by_conversation: bool = Field(
        True, description="train on a conversation's groups of all sources at once; false: on groups one by one"
    )
    section_order: SectionOrder = Field("config-last", description="order of the prompt's sections")
    verbalizer: VerbalizerSettings = VerbalizerSettings()
    method: Literal["full", "lora"] = Field(
        "full", description="train all weights, or a LoRA adapter merged at the end"
    )
    frozen_layers: int = Field(0, ge=0, description="lowest layers that full training leaves as they are")
    lora_rank: int = Field(32, ge=1, description="LoRA rank (alpha is twice the rank)")
    gamma: float = Field(2.0, ge=0, description="weight of L_rm (paper: .1)")
    margin: float = Field(0.0, ge=0, description="margin m of L_rm, nats")
    strict_first: bool = Field(False, description="SA's L_rm as printed, which ranks the strict configuration higher")
    learning_rate: float = Field(1e-4, gt=0)
    steps: int = Field(200, ge=1, description="optimiser steps")
    batch_groups: int = Field(2, ge=1, description="effective batch size: conversations, or groups")
    device_groups: int = Field(1, ge=1, description="of these in one forward pass; the rest is accumulated")
    warmup_steps: int = Field(15, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    max_length: int = Field(512, ge=16, description="longest rendered input, tokens")
    checkpoint_steps: int = Field(50, ge=1, description="steps between checkpoints")
    dtype: DType = Field("auto", description="number format of the matrix products; auto: bfloat16 where fast")
    packing: int | None = Field(
        None, ge=1, description="groups share rows of so many tokens, or of the longest group (None: one group a row)"
    )
    gradient_checkpointing: bool = Field(False, description="recompute activations: less memory, a third more time")
    deterministic: bool = Field(False, description="deterministic algorithms only; slower on accelerators")
    launcher: str | None = Field(
        None, description="Accelerate configuration to train under, see envs/accelerate (None: one process)"
    )
    report_to: list[Literal["tensorboard", "trackio", "wandb"]] = Field(
        [], description="where loss curves go besides log.jsonl; each is a package to install"
    )

    def names(self) -> dict[str, tuple[str, int | None]]:
        """Every model that is trained -> its variant and its further seed (None: the variant's own)."""
        own: dict[str, tuple[str, int | None]] = {variant: (variant, None) for variant in self.variants}
        return own | {f"{v}{SEED_MARK}{seed}": (v, seed) for seed in self.seeds for v in self.variants}

    def accumulation(self, processes: int = 1) -> int:
        """Forward passes per optimiser step of each of `processes` processes.

        Raises:
            ValueError: if the effective batch does not divide evenly.
        """
        passes, left = divmod(self.batch_groups, self.device_groups * processes)
        if left:
            raise ValueError(
                f"train.batch_groups {self.batch_groups} must be a multiple of train.device_groups "
                f"{self.device_groups} times {processes} processes: choose a divisor"
            )
        return passes

    @model_validator(mode="after")
    def _whole_batches(self) -> "TrainSettings":
        if self.batch_groups % self.device_groups:
            raise ValueError(
                f"train.batch_groups {self.batch_groups} must be a multiple of train.device_groups "
                f"{self.device_groups}: choose a divisor"
            )
        return self


class BackendSettings(Section):
    """Where language models are scored; the scores are the same, so that a change of it reruns nothing."""

    backend: Literal["transformers", "vllm", "openai"] = Field(
        "transformers",
        description="where language models are scored: this process, a vLLM engine, or an OpenAI-compatible server",
    )
    base_url: str | None = Field(
        None,
        description="address of the server (openai), as http://localhost:8000/v1; {model}: the model's name",
    )
    concurrency: int = Field(16, ge=1, description="requests to the server at once (openai)")
    retries: int = Field(5, ge=0, description="further tries of a request that failed in passing (openai)")
    engine: dict[str, bool | int | float | str] = Field(
        {}, description="further arguments of vllm.LLM (vllm), as {tensor_parallel_size: 8}"
    )


class ScoreSettings(BackendSettings):
    """Scoring of benchmark items."""

    selection = frozenset(
        {"models", "benchmarks", "guards", "validation", "calibrated", "clauses", "item_cap"}
        | BackendSettings.model_fields.keys()
    )
    models: list[str] = Field(
        ["zero-shot", "minilm-similarity", "minilm-lr", "tfidf-lr"],
        description="baselines beside the variants: zero-shot, csrm.bench.baselines, ids of config/guards.tsv",
    )
    benchmarks: list[str] = Field(
        ["pyrit-seen", "pyrit-unseen", "pyrit-threshold", "pyrit-strictness"],
        description="benchmarks in config/benchmarks.tsv",
    )
    guards: str | None = Field(None, description="folder with one model folder per guard of config/guards.tsv")
    validation: str = Field("pyrit-validation", description="benchmark of validation rows to calibrate models on")
    calibrated: list[str] = Field(
        ["csrm", "minilm-lr"], description="models that are calibrated (none: the step is left out)"
    )
    clauses: str | None = Field(
        "pyrit-clauses", description="clause probe of Table 7 in config/benchmarks.tsv (None: left out)"
    )
    token_budget: int = Field(4096, ge=64, description="padded tokens in one forward pass (transformers)")
    tree_length: int = Field(768, ge=64, description="longest row in which items share prefixes, tokens (transformers)")
    max_length: int = Field(1024, ge=16, description="longest rendered input, tokens; longer ones are cut and counted")
    dtype: DType = Field("auto", description="number format of the matrix products; auto: bfloat16 where fast")
    item_cap: int | None = Field(120, ge=1, description="at most so many items a benchmark (whole prompts; None: all)")


class MetricSettings(Section):
    """Metrics over stored scores."""

    threshold: float = Field(0.0, description="safe iff log-odds > threshold")
    bootstrap: int = Field(1000, ge=10, description="resamples, clustered by prompt")
    level: float = Field(0.95, gt=0, lt=1, description="level of the intervals")
    parse_failure: ParseFailure = Field("wrong", description="what a generated answer without a verdict counts as")
    target_fprs: list[Share] = Field(
        [0.01, 0.05, 0.1], description="false positive rates (safe called unsafe) that thresholds are recommended for"
    )


class SamplingSettings(Section):
    """How responses are sampled."""

    max_new_tokens: int = Field(64, ge=1)
    temperature: float = Field(0.8, gt=0)
    top_p: float = Field(0.95, gt=0, le=1)


PairAlgorithm = Literal["dpo", "reward-distillation"]
Algorithm = Literal[PairAlgorithm, "reinforce"]


class ReinforceSettings(Section):
    """REINFORCE++ (section 4.4): 8 rollouts, batches of 128 and 5 episodes in the paper, which gives no more."""

    rollouts: int = Field(8, ge=1, description="responses a prompt")
    episodes: int = Field(1, ge=1, description="passes over the prompts")
    batch: int = Field(128, ge=1, description="most responses of one update")
    updates: int = Field(1, ge=1, description="updates on one sampled batch; must divide the rollouts")
    beta: float = Field(0.01, ge=0, description="weight of the KL estimate in the reward")
    clip: float = Field(0.2, gt=0, description="token ratios count up to 1 +- clip")
    temperature: float = Field(1.0, gt=0, description="of the rollouts and of all log-probabilities")


class AlignSettings(SamplingSettings):
    """Downstream alignment of a policy (section 4.4)."""

    selection = frozenset({"configs", "rewards", "algorithms", "swept"})
    policy: str = Field("smollm2-135m-instruct", description="model id in config/models.tsv")
    configs: list[str] = Field(["no-alcohol", "no-pets"], description="files in config/safety_configs")
    rewards: list[str] = Field(["csrm"], min_length=1, description="models whose reward aligns a policy")
    algorithms: list[Algorithm] = Field(["dpo"], min_length=1, description="how it aligns the policy")
    swept: list[str] = Field(["csrm", "zero-shot"], description="models whose reward is swept in Figure 4")
    train_prompts: int = Field(24, ge=1, description="training prompts per configuration")
    test_prompts: int = Field(16, ge=1, description="test prompts per configuration")
    samples: int = Field(6, ge=2, description="responses sampled per training prompt")
    pairs_per_prompt: int = Field(1, ge=1, description="best/worst responses paired per prompt")
    test_samples: int = Field(4, ge=1, description="generations per test prompt")
    beta: float = Field(0.1, gt=0, description="pull to the reference policy, in DPO and Reward Distillation")
    learning_rate: float = Field(2e-4, gt=0)
    steps: int = Field(12, ge=1)
    batch_pairs: int = Field(4, ge=1)
    reinforce: ReinforceSettings = ReinforceSettings()
    lora_rank: int = Field(16, ge=1)
    sweep: list[float] = Field([-4.0, -2.0, 0.0, 2.0, 4.0], description="offsets b of the Pareto sweep sigma(a s + b)")
    sweep_slope: float = Field(1.0, gt=0, description="slope a of the Pareto sweep")


class Settings(Section):
    """Everything a run depends on."""

    scale: Literal["smoke", "demo", "small", "paper"] = "demo"
    outdir: str = Field("results", description="folder that receives everything the workflow makes")
    data_root: str | None = Field(None, description="local mirror in hub layout, read in place")
    seed: int = Field(0, ge=0)
    encoder: Literal["minilm", "hash"] = Field("minilm", description="sentence encoder; hash: bag of words, for tests")
    topics: SamplingSettings = Field(
        SamplingSettings(), description="how the policy answers the topic prompts of data set `topics`"
    )
    data: DataSettings = DataSettings()
    augment: AugmentSettings = AugmentSettings()
    train: TrainSettings = TrainSettings()
    score: ScoreSettings = ScoreSettings()
    metrics: MetricSettings = MetricSettings()
    align: AlignSettings = AlignSettings()

    @model_validator(mode="after")
    def _calibrated(self) -> "Settings":
        scored = [*self.train.names(), *self.score.models]
        unknown = sorted(set(self.score.calibrated) - set(scored))
        if unknown:
            raise ValueError(
                f"score.calibrated names {unknown}, which are not scored: choose among train.variants and score.models "
                f"{scored}"
            )
        return self

    @model_validator(mode="after")
    def _thresholds(self) -> "Settings":
        if self.augment.standard_threshold in self.augment.held_out_thresholds:
            raise ValueError(
                f"augment.standard_threshold {self.augment.standard_threshold} is among augment.held_out_thresholds "
                f"{self.augment.held_out_thresholds}: training text would use it; choose another standard threshold"
            )
        return self


STAGES = ("topics", "data", "augment", "train", "score", "metrics", "align")


def merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """`base` overlaid: mappings merge key by key, everything else (lists too) is replaced."""
    merged = dict(base)
    for key, value in overlay.items():
        both = isinstance(merged.get(key), dict) and isinstance(value, dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def load(config_dir: str | Path, overrides: dict[str, Any] | None = None) -> Settings:
    """Settings of a run: `config.yaml`, then the scale's overlay, then `overrides`.

    `row_cap` and `item_cap` may be given at top level as short forms of `data.row_cap` and `score.item_cap`.

    Raises:
        ValueError: for unknown keys, scales or values; the message names the key and the allowed values.
    """
    config_dir, overrides = Path(config_dir), dict(overrides or {})
    for short, stage in (("row_cap", "data"), ("item_cap", "score")):
        if short in overrides:
            overrides[stage] = {**overrides.get(stage, {}), short: overrides.pop(short)}
    data: dict[str, Any] = yaml.safe_load((config_dir / "config.yaml").read_text(encoding="utf-8"))
    scale = overrides.get("scale", data.get("scale", "demo"))
    scales = sorted(p.stem for p in (config_dir / "scales").glob("*.yaml"))
    if scale not in scales:
        raise ValueError(f"scale {scale!r} is unknown; choose one of {scales}")
    overlay = yaml.safe_load((config_dir / "scales" / f"{scale}.yaml").read_text(encoding="utf-8")) or {}
    merged = merge(merge(merge(data, overlay), {"scale": scale}), overrides)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise ValueError(f"settings (scale {scale!r}): {error}") from None


def write_slices(settings: Settings) -> None:
    """Write each stage's settings to `<outdir>/config/<stage>.yaml`, untouched where nothing changed.

    What only selects (which models, which benchmarks, how many items) is left out: a rule that needs it has it as a
    parameter, so that naming one more model scores that model and nothing else. Where models are scored is a slice of
    its own, `backend.yaml`.
    """
    folder = Path(settings.outdir) / "config"
    for stage in STAGES:
        write_slice(folder / f"{stage}.yaml", getattr(settings, stage))
    place = settings.score.model_dump(include=set(BackendSettings.model_fields))
    write_slice(folder / "backend.yaml", BackendSettings.model_validate(place))


def write_slice(path: Path, section: Section) -> None:
    """Write one section as YAML without its selection, untouched where nothing changed."""
    text = yaml.safe_dump(section.model_dump(mode="json", exclude=set(section.selection)), sort_keys=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def read_slice(path: str | Path, model: type[Section]) -> Any:
    """Read one stage's slice as `model`, with the run's `seed` left out."""
    return model.model_validate(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
