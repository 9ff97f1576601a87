"""Settings of general capability before and after alignment."""

from pydantic import Field

from csrm.settings.base import Section


class CapabilitySettings(Section):
    """What is measured besides perplexity on the project's neutral text."""

    tasks: list[str] = Field(
        [],
        description="tasks of lm-evaluation-harness (pip install -c constraints.txt -e '.[tasks]')",
    )
    task_folder: str | None = Field(None, description="folder of further task files of the harness")
    limit: int | None = Field(None, ge=1, description="first documents of each task (None: all)")
