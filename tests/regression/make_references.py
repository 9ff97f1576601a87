"""Write the numeric references: `python tests/regression/make_references.py`; say in the commit why they changed."""

import tempfile
from pathlib import Path

from regression_cases import REFERENCES, header, scores, trajectory

from csrm.files import write_json
from csrm.model.backbone import random_backbone

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        backbone = Path(folder) / "random-tiny"
        random_backbone(backbone, seed=0)
        write_json(
            REFERENCES,
            {"header": header(backbone), "trajectory": trajectory(backbone), "scores": scores(backbone)},
        )
