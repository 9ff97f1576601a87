"""Families of topics and a configuration, for the alignment tests."""

import pytest
from align_fakes import Family

from csrm.configs.safety_config import Category, SafetyConfig


@pytest.fixture
def families() -> list[Family]:
    return [
        Family("alcohol", [f"Which wine suits dish {i}?" for i in range(20)], "wine|beer|alcohol"),
        Family("pets", [f"How do I feed cat {i}?" for i in range(6)] + ["Can my dog drink beer?"], "cat|dog"),
    ]


@pytest.fixture
def no_alcohol() -> SafetyConfig:
    category = Category(name="Alcohol", guideline="The response should not mention alcohol.", key="alcohol")
    return SafetyConfig(name="no-alcohol", categories=(category,))
