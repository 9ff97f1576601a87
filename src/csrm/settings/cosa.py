"""Settings of CoSAlign and of its evaluation."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from csrm.settings.align import PolicyTraining
from csrm.settings.data import LLMSettings
from csrm.settings.train import SEED_MARK

Mode = Literal["exact_match", "superset", "safe", "not_superset"]


class CosaSettings(PolicyTraining):
    """CoSAlign (CoSA, Algorithm 1 and section 5): what a configuration allows, a policy may touch."""

    selection = frozenset({"table", "data", "test_data", "seeds"})
    table: bool = Field(False, description="make CoSA's Table 3 in a full run too; by its name it is always made")
    policy: str = Field("smollm2-135m-instruct", description="model id in config/models.tsv")
    taxonomy: Literal["topics", "cosalign"] = Field(
        "topics",
        description="what labels stand for: the project's benign topics, or the harms of CoSAlign's taxonomy; `seen`, "
        "`unseen` and the test configurations name labels of it",
    )
    data: list[str] = Field([], description="data sets of labelled responses that pairs over `cosalign` are made of")
    test_data: str = Field("cosalign-test", description="data set of test prompts under configurations of `cosalign`")
    judge: Literal["lexicon", "llm"] = Field(
        "lexicon",
        description="who labels responses and judges answers: lexicons (or the data sets) and the proxy, or `cosa.llm`",
    )
    llm: LLMSettings = LLMSettings()
    concurrency: int = Field(8, ge=1, description="requests to `llm.base_url` at once; local models take one")
    seen: list[str] = Field(
        ["alcohol", "medication", "pets", "travel"],
        min_length=1,
        description="T: labels that configurations of training can allow",
    )
    unseen: list[str] = Field(["cooking_meat", "gambling", "sports"], description="labels of no training configuration")
    seen_configs: list[list[str]] = Field(
        [[], ["pets"], ["alcohol", "travel"], ["medication", "pets"], ["alcohol", "medication", "travel"]],
        min_length=1,
        description="allowed labels of the test configurations, of `seen` alone",
    )
    unseen_configs: list[list[str]] = Field(
        [["cooking_meat"], ["sports"], ["pets", "gambling"]],
        min_length=1,
        description="the same, each with a label of `unseen`",
    )
    responses: str | None = Field(
        None, description="file of labelled responses by your own policy and judge (None: sampled, labelled by lexicon)"
    )
    train_prompts: int = Field(10, ge=1, description="training prompts of each seen topic, and neutral ones")
    test_prompts: int = Field(
        3, ge=1, description="test prompts of each topic, and neutral ones; over `cosalign` of each configuration"
    )
    plain_samples: int = Field(2, ge=0, description="responses to a bare training prompt")
    configured_samples: int = Field(4, ge=0, description="responses to it under drawn configurations (CoSA: 8)")
    modes: list[Mode] = Field(
        ["exact_match", "superset", "safe", "not_superset"],
        min_length=1,
        description="how configurations are drawn for a prompt; CoSA's published data have all four",
    )
    dedup_empty_configs: bool = Field(True, description="the empty configuration at most once a prompt")
    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        [],
        description="further seeds of responses, pairs, trainings and answers, for means over seeds",
    )
    shots: int = Field(5, ge=1, description="exchanges shown in-context (CoSA: 5)")
    sft_steps: int = Field(24, ge=1, description="steps of fine-tuning on chosen responses, before DPO")
    steps: int = Field(24, ge=1, description="steps of DPO")
    beta: float = Field(0.1, gt=0, description="pull to the fine-tuned policy")
    learning_rate: float = Field(2e-4, gt=0)
    optimizer: Literal["adamw_torch", "rmsprop"] = Field("adamw_torch", description="CoSA: rmsprop")
    warmup_steps: int = Field(2, ge=0, description="linear warm-up, then constant (CoSA: 150)")
    clip: float = Field(10.0, gt=0, description="largest gradient norm")

    @model_validator(mode="after")
    def _topics(self) -> "CosaSettings":
        both = sorted(set(self.seen) & set(self.unseen))
        if both:
            raise ValueError(f"topics {both} are both in cosa.seen and cosa.unseen")
        for name, configs in (("seen_configs", self.seen_configs), ("unseen_configs", self.unseen_configs)):
            known = {*self.seen, *(self.unseen if name == "unseen_configs" else [])}
            foreign = sorted({topic for config in configs for topic in config} - known)
            if foreign:
                raise ValueError(f"cosa.{name} allows {foreign}: choose among {sorted(known)}")
        known_only = [config for config in self.unseen_configs if not set(config) & set(self.unseen)]
        if known_only:
            raise ValueError(f"cosa.unseen_configs {known_only} allow no topic of cosa.unseen {sorted(self.unseen)}")
        return self

    @model_validator(mode="after")
    def _judge_named(self) -> "CosaSettings":
        if self.judge == "llm" and self.llm.model is None:
            raise ValueError("cosa.judge llm needs cosa.llm.model: name a model, the policy must not judge itself")
        if self.table and self.judge == "lexicon" and self.taxonomy == "cosalign":
            raise ValueError(
                "cosa.table over cosa.taxonomy cosalign needs cosa.judge llm: no lexicon judges answers by harms; "
                "pairs alone, <outdir>/cosa/pairs.jsonl, need none"
            )
        return self

    @model_validator(mode="after")
    def _samples(self) -> "CosaSettings":
        if self.plain_samples + self.configured_samples < 2:
            raise ValueError("cosa.plain_samples and cosa.configured_samples must give a prompt at least 2 responses")
        return self

    def runs(self) -> dict[str, int | None]:
        """Every run of the chain, by its folder -> its further seed (None: the run's): `cosa+seed-1`."""
        return {"cosa": None, **{f"cosa{SEED_MARK}{seed}": seed for seed in self.seeds}}

    def optimiser(self, steps: int) -> dict[str, Any]:
        """Arguments of the trainer: linear warm-up, then a constant rate, as CoSA's code has it."""
        return {
            "optim": self.optimizer,
            "warmup_steps": min(self.warmup_steps, steps),
            "lr_scheduler_type": "constant_with_warmup",
            "max_grad_norm": self.clip,
        }
