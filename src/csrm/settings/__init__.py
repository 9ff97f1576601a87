"""All settings, one pydantic model per stage: types, bounds, a sentence of description, and the demo's defaults.

`config/config.yaml` and `config/schema.json` are generated from these models (`csrm settings`); a scale is an
overlay in `config/scales/<scale>.yaml`. Unknown keys are errors. Lists are replaced by an overlay, mappings merged.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from csrm.settings.align import AlignSettings, PairAlgorithm, ReinforceSettings, SamplingSettings
from csrm.settings.base import DType, Section, SectionOrder, merge, read_slice, write_slice
from csrm.settings.capability import CapabilitySettings
from csrm.settings.cosa import CosaSettings, Mode
from csrm.settings.data import AugmentSettings, DataSettings, LLMSettings
from csrm.settings.errors import explain
from csrm.settings.helpfulness import RATED, HelpfulnessSettings
from csrm.settings.score import BackendSettings, MetricSettings, ParseFailure, ScoreSettings
from csrm.settings.train import SEED_MARK, PriceSettings, TrainSettings, VerbalizerSettings
from csrm.yaml_reader import read_yaml

__all__ = [
    "SEED_MARK",
    "AlignSettings",
    "AugmentSettings",
    "BackendSettings",
    "CapabilitySettings",
    "CosaSettings",
    "DType",
    "DataSettings",
    "HelpfulnessSettings",
    "LLMSettings",
    "MetricSettings",
    "Mode",
    "PairAlgorithm",
    "ParseFailure",
    "PriceSettings",
    "ReinforceSettings",
    "SamplingSettings",
    "ScoreSettings",
    "Section",
    "SectionOrder",
    "Settings",
    "TrainSettings",
    "VerbalizerSettings",
    "explain",
    "load",
    "merge",
    "read_slice",
    "write_slice",
    "write_slices",
]


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
    helpfulness: HelpfulnessSettings = HelpfulnessSettings()
    align: AlignSettings = AlignSettings()
    capability: CapabilitySettings = CapabilitySettings()
    cosa: CosaSettings = CosaSettings()
    price: PriceSettings = PriceSettings()

    @model_validator(mode="after")
    def _thresholds(self) -> "Settings":
        if self.augment.standard_threshold in self.augment.held_out_thresholds:
            raise ValueError(
                f"augment.standard_threshold {self.augment.standard_threshold} is among augment.held_out_thresholds "
                f"{self.augment.held_out_thresholds}: training text would use it; choose another standard threshold"
            )
        return self

    @model_validator(mode="after")
    def _rating_judge(self) -> "Settings":
        if self.helpfulness.judge == RATED and self.align.judge != "llm":
            raise ValueError(
                f"helpfulness.judge {RATED!r} is the rating of the model that judges compliance, and align.judge is "
                f"{self.align.judge!r}: set align.judge to 'llm' and align.llm.model, or helpfulness.judge to "
                f"'proxy', 'trained' or a reward model"
            )
        return self


STAGES = ("topics", "data", "augment", "train", "score", "metrics", "helpfulness", "align", "capability", "cosa")


def load(config_dir: str | Path, overrides: dict[str, Any] | None = None) -> Settings:
    """Settings of a run: `config.yaml`, then the scale's overlay, then `overrides`.

    `row_cap` and `item_cap` may be given at top level as short forms of `data.row_cap` and `score.item_cap`.
    `data.exclude` is filled from the files' `score.benchmarks`, so that which benchmarks a run names does not change
    what it trains on.

    Raises:
        ValueError: for unknown keys, scales or values; the message names the key and the allowed values. For a key that
            a file holds twice; the message names the file, the key and both lines.
    """
    config_dir, overrides = Path(config_dir), dict(overrides or {})
    for short, stage in (("row_cap", "data"), ("item_cap", "score")):
        if short in overrides:
            overrides[stage] = {**overrides.get(stage, {}), short: overrides.pop(short)}
    data: dict[str, Any] = read_yaml(config_dir / "config.yaml")
    scale = overrides.get("scale", data.get("scale", "demo"))
    scales = sorted(p.stem for p in (config_dir / "scales").glob("*.yaml"))
    if scale not in scales:
        raise ValueError(f"scale {scale!r} is unknown; choose one of {scales}")
    overlay = read_yaml(config_dir / "scales" / f"{scale}.yaml") or {}
    declared = merge(data, overlay)
    merged = merge(merge(declared, {"scale": scale}), overrides)
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        raise ValueError(f"settings (scale {scale!r}):\n{explain(error, Settings)}") from None
    if settings.data.exclude is not None:
        return settings
    excluded = settings.data.model_copy(update={"exclude": list(declared["score"]["benchmarks"])})
    return settings.model_copy(update={"data": excluded})


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
