"""Settings of scoring and of metrics."""

from typing import Literal

from pydantic import Field

from csrm.settings.base import DType, Section, Share

ParseFailure = Literal["wrong", "unsafe", "safe", "exclude"]


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
        {"models", "benchmarks", "guards", "validation", "calibrated", "clauses", "retrieval", "item_cap"}
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
    retrieval: list[str] = Field(
        ["pyrit-harm"],
        description="data sets with relevant policy rules, or labelled categories as a proxy, for Figure 8",
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
