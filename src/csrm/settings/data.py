"""Settings of the data and of their augmentation."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from csrm.settings.base import Section, Share


class DataSettings(Section):
    """Which rows are read and how they are split, before any augmentation."""

    selection = frozenset({"exclude"})
    train: list[str] = Field(["pyrit-harm"], description="data sets of labelled conversations to train on")
    response_pairs: list[str] = Field([], description="data sets of response pairs (RM items) to train on")
    held_out: list[str] = Field(
        ["privacy", "self_harm", "gambling", "pets", "travel"],
        description="families, by key: every prompt that a response violates one on is kept out of training, and their "
        "categories; words of theirs may stand in categories of other families",
    )
    exclude: list[str] | None = Field(
        None,
        description="benchmarks whose prompts are left out of training (None: those that the scale's file lists, "
        "whatever `--config` names)",
    )
    test_share: Share = Field(0.25, description="share of prompts kept for the test split")
    validation_share: Share = Field(0.08, description="share of prompts kept for the validation split")
    row_cap: int | None = Field(None, ge=1, description="at most so many rows a data set (None: all)")
    max_response_words: int = Field(60, ge=1, description="responses are cut to so many words, and counted")
    max_prompt_words: int = Field(40, ge=1, description="longer prompts keep their last so many words, and are counted")

    @model_validator(mode="after")
    def _pairs_without_labels(self) -> "DataSettings":
        if self.response_pairs and self.held_out:
            raise ValueError(
                f"data.response_pairs {self.response_pairs} say nothing of categories, so data.held_out "
                f"{self.held_out} cannot be kept out of them: empty one of the two"
            )
        return self


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
    concurrency: int = Field(8, ge=1, description="requests to `llm.base_url` at once; local models take one")
    standard_threshold: Share = Field(0.5, description="severity from which a standard guideline calls it unsafe")
    held_out_thresholds: list[float] = Field([0.75], description="severity thresholds that no training text uses")
    augmented: list[str] | None = Field(
        None, description="taxonomies whose conversations CCA and SA augment (None: all that are trained on)"
    )
    drop_rate: Share = Field(0.5, description="probability of dropping each category of p (CCA step i)")
    insert_positive: Share = Field(1.0, description="probability of inserting p+ into the unsafe configuration")
    insert_negative: Share = Field(0.7, description="probability of inserting p- into a configuration")
    insert_both: Share = Field(
        0.25, description="share of these insertions that an unsafe configuration, which holds p+, gets as well"
    )
    shuffle: bool = Field(
        True,
        description="random order of the categories; false: those of p keep theirs, inserted ones stand anywhere",
    )
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
    pairs_per_conversation: int | None = Field(
        1, ge=1, description="strict/lenient pairs attached to one conversation (None: all that passed the test)"
    )
    compared: int | None = Field(
        None,
        ge=1,
        description="conversations that bank and language model are compared on as proposers (None: left out)",
    )

    @model_validator(mode="after")
    def _known_taxonomies(self) -> "AugmentSettings":
        known = sorted(path.stem for path in (Path(__file__).parents[1] / "configs" / "taxonomies").glob("*.yaml"))
        for setting, names in (("pools", self.pools), ("augmented", self.augmented or [])):
            if unknown := sorted(set(names) - set(known)):
                raise ValueError(f"augment.{setting} names taxonomies that do not exist: {unknown}; known: {known}")
        return self
