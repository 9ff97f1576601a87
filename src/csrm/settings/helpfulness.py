"""Settings of the helpfulness model H (section 4.4): which one is used where, and how the project's own is trained."""

from typing import Literal

from pydantic import Field, model_validator

from csrm.settings.base import DType, Section, Share

PROXY = "proxy"
TRAINED = "trained"
RATED = "llm"


class HelpfulnessSettings(Section):
    """Helpfulness H of the total reward R H (section 4.4)."""

    selection = frozenset({"reward", "judge", "data"})
    reward: str = Field(
        PROXY, description="H of the total reward: proxy (rules), trained (here), or a reward model of models.tsv"
    )
    judge: str = Field(
        PROXY,
        description="H of the judge, likewise, or llm: the rating of `align.llm`, which then judges compliance too "
        "(`align.judge: llm`); never the reward model that was optimised",
    )
    data: list[str] = Field(
        ["pyrit-refusal"], min_length=1, description="data sets of pairs, or of refusals and answers to one prompt"
    )
    test_share: Share = Field(0.25, description="share of prompts on which H is tested")
    validation_share: Share = Field(0.15, description="share of prompts on which scores are mapped to [0, 1]")
    pairs_per_prompt: int = Field(4, ge=1, description="most pairs of one prompt made of refusals and answers")
    backbone: str = Field("smollm2-135m-instruct", description="model id in config/models.tsv")
    method: Literal["full", "lora"] = Field("lora", description="train all weights, or a LoRA adapter and the head")
    lora_rank: int = Field(16, ge=1, description="LoRA rank (alpha is twice the rank)")
    learning_rate: float = Field(5e-4, gt=0)
    steps: int = Field(60, ge=1, description="optimiser steps")
    batch_pairs: int = Field(4, ge=1, description="pairs a step")
    max_length: int = Field(512, ge=16, description="longest conversation trained on, tokens; longer pairs are counted")
    center: float = Field(0.01, ge=0, description="weight of the squared sum of a pair's scores in the loss")
    dtype: DType = Field("auto", description="number format of the matrix products; auto: bfloat16 where fast")

    def models(self) -> list[str]:
        """The reward models in use; the proxy and a language model's rating are none."""
        return sorted({self.reward, self.judge} - {PROXY, RATED})

    @model_validator(mode="after")
    def _independent(self) -> "HelpfulnessSettings":
        if self.judge == self.reward != PROXY:
            raise ValueError(
                f"helpfulness.judge and helpfulness.reward are both {self.reward!r}: a policy would be judged by the "
                "model that it was optimised for; leave the judge at proxy, or name another model"
            )
        return self

    @model_validator(mode="after")
    def _something_to_train_on(self) -> "HelpfulnessSettings":
        if self.test_share + self.validation_share >= 1:
            raise ValueError(
                f"helpfulness.test_share {self.test_share} + helpfulness.validation_share {self.validation_share} "
                "must be below 1"
            )
        return self
