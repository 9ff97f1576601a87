"""Settings of sampling and of downstream alignment."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from csrm.settings.base import Section, Share
from csrm.settings.data import LLMSettings
from csrm.settings.train import SEED_MARK


class SamplingSettings(Section):
    """How responses are sampled."""

    max_new_tokens: int = Field(64, ge=1)
    temperature: float = Field(0.8, gt=0)
    top_p: float = Field(0.95, gt=0, le=1)


CHECKPOINT_MARK = "+checkpoint-"
"""Between an algorithm and the number of a policy kept before its training ended: `dpo+checkpoint-1`."""

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


class PolicyTraining(SamplingSettings):
    """What all trainings of a policy share: batches of pairs, the memory that they take, and the LoRA adapter."""

    batch_pairs: int = Field(4, ge=1, description="pairs of one update")
    device_pairs: int | None = Field(
        None, ge=1, description="pairs of one forward pass; divides batch_pairs (None: all of them at once)"
    )
    gradient_checkpointing: bool = Field(False, description="compute activations again to spare memory")
    max_length: int = Field(
        1024, ge=8, description="tokens of prompt and response; longer pairs are left out whole, never cut"
    )
    lora_rank: int = Field(16, ge=1)
    lora_alpha: int | None = Field(None, ge=1, description="scale of the adapter is alpha / rank (None: 2 rank)")
    lora_dropout: float = Field(0.0, ge=0, lt=1)

    @property
    def accumulation(self) -> int:
        """Forward passes of one update."""
        return self.batch_pairs // (self.device_pairs or self.batch_pairs)

    @model_validator(mode="after")
    def _whole_passes(self) -> "PolicyTraining":
        if self.device_pairs and self.batch_pairs % self.device_pairs:
            raise ValueError(f"device_pairs {self.device_pairs} must divide batch_pairs {self.batch_pairs}")
        return self


class AlignSettings(PolicyTraining):
    """Downstream alignment of a policy (section 4.4)."""

    selection = frozenset({"configs", "rewards", "algorithms", "swept", "judge_data", "checkpoints", "seeds", "tested"})
    policy: str = Field("smollm2-135m-instruct", description="model id in config/models.tsv")
    configs: list[str] = Field(["no-alcohol", "no-pets"], description="files in config/safety_configs")
    tested: list[str] = Field(
        ["no-meat", "no-travel"],
        description="further files there: every policy answers under them too, none is trained on them",
    )
    rewards: list[str] = Field(
        ["csrm"], min_length=1, description="models, baselines or guards whose reward aligns a policy"
    )
    algorithms: list[Algorithm] = Field(["dpo"], min_length=1, description="how it aligns the policy")
    prompts: Literal["written", "generated", "data"] = Field(
        "written",
        description="the project's own prompts by topic, what `align.llm` writes for each category, or those of "
        "`align.prompt_data`, by category",
    )
    prompt_data: str = Field("cosalign-test", description="data set of prompts whose categories are known, for `data`")
    test_data: str | None = Field(
        None,
        description="data set whose prompts of its scenario test a configuration `cosapien-<scenario>`: "
        "cosapien-prompts (None: test prompts are drawn beside the training prompts)",
    )
    per_category: int = Field(20, ge=1, description="generated prompts of either side of a category")
    similarity: Share = Field(0.9, description="generated prompts at least this similar to an earlier one are left out")
    judge: Literal["lexicon", "llm"] = Field(
        "lexicon", description="who judges compliance: the topics' lexicons, or `align.llm`, for any configuration"
    )
    llm: LLMSettings = LLMSettings()
    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        [], description="further seeds that each policy is sampled, trained and tested with, for means over seeds"
    )
    swept: list[str] = Field(
        ["csrm", "zero-shot"], description="models, baselines or guards whose reward is swept in Figure 4"
    )
    judge_data: list[str] = Field(
        ["pyrit-refusal", "pyrit-objective"],
        description="data sets with human verdicts on refusals or objectives, to measure the judge on (none: left out)",
    )
    checkpoints: int = Field(
        0,
        ge=0,
        description="policies kept along training, the last at its end, for a curve of over-optimisation (0: none)",
    )
    train_prompts: int = Field(24, ge=1, description="training prompts per configuration")
    test_prompts: int = Field(16, ge=1, description="test prompts per configuration; at most so many of `test_data`")
    samples: int = Field(6, ge=2, description="responses sampled per training prompt")
    pairs_per_prompt: int = Field(1, ge=1, description="best/worst responses paired per prompt")
    test_samples: int = Field(4, ge=1, description="generations per test prompt")
    beta: float = Field(0.1, gt=0, description="pull to the reference policy, in DPO and Reward Distillation")
    learning_rate: float = Field(2e-4, gt=0)
    steps: int = Field(12, ge=1)
    reinforce: ReinforceSettings = ReinforceSettings()
    sweep: list[float] = Field([-4.0, -2.0, 0.0, 2.0, 4.0], description="offsets b of the Pareto sweep sigma(a s + b)")
    sweep_slope: float = Field(1.0, gt=0, description="slope a of the Pareto sweep")

    def optimiser(self, steps: int) -> dict[str, Any]:
        """Arguments of the trainer: AdamW, linear decay after a warm-up of a tenth."""
        return {"optim": "adamw_torch", "warmup_steps": steps // 10, "lr_scheduler_type": "linear"}

    def runs(self) -> dict[str, tuple[str, int | None]]:
        """Every run of alignment -> its configuration and its further seed (None: the run's): `no-pets+seed-1`."""
        seeds: list[int | None] = [None, *self.seeds]
        return {self.run_of(config, seed): (config, seed) for seed in seeds for config in (*self.configs, *self.tested)}

    @staticmethod
    def run_of(config: str, seed: int | None) -> str:
        """Name of the run of a configuration with a further seed (None: the run's)."""
        return config if seed is None else f"{config}{SEED_MARK}{seed}"

    def runs_of(self, config: str) -> list[str]:
        """The runs of one configuration, that with the run's seed first."""
        return [name for name, (own, _) in self.runs().items() if own == config]

    def kept(self, algorithm: str) -> list[str]:
        """What an algorithm's policies before the end of training are called."""
        return [f"{algorithm}{CHECKPOINT_MARK}{n}" for n in range(1, self.checkpoints)]

    @model_validator(mode="after")
    def _judge_named(self) -> "AlignSettings":
        if self.judge == "llm" and self.llm.model is None:
            raise ValueError("align.judge llm needs align.llm.model: name a model, the policy must not judge itself")
        return self

    @model_validator(mode="after")
    def _tested_apart(self) -> "AlignSettings":
        if both := sorted({*self.configs} & {*self.tested}):
            raise ValueError(f"align.tested {both} are in align.configs, which policies are trained on: name others")
        return self

    @model_validator(mode="after")
    def _enough_steps(self) -> "AlignSettings":
        if self.checkpoints > self.steps:
            raise ValueError(
                f"align.checkpoints {self.checkpoints} must not exceed align.steps {self.steps}: "
                "keep fewer policies, or train longer"
            )
        return self
