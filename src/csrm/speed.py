"""How fast training is taken to be: devices, the peak of one, and the share of it that is reached."""

import json
from pathlib import Path
from typing import NamedTuple

H100_TFLOPS = 989.0  # dense bfloat16, NVIDIA H100 SXM data sheet
ASSUMED = 0.4  # share of the peak that training is taken to reach where no run was measured


class Speed(NamedTuple):
    """Devices that share weights and batch.

    Attributes:
        devices: how many.
        tflops: peak of one, 10^12 operations a second.
        utilisation: share of the peak that training reaches (model FLOPs utilisation).
        source: where that share comes from.
    """

    devices: int = 1
    tflops: float = H100_TFLOPS
    utilisation: float = ASSUMED
    source: str = "assumed"


def measured_utilisation(manifest: Path, tflops: float) -> float:
    """Model FLOPs utilisation of a training, from its manifest's throughput.

    Args:
        manifest: of a model that `csrm train` made.
        tflops: peak of one of the devices that it was trained on, 10^12 operations a second.

    Raises:
        ValueError: if the manifest has no throughput, or it exceeds the peak.
    """
    notes = json.loads(manifest.read_text(encoding="utf-8")).get("notes", {})
    if "flops_per_second" not in notes:
        raise ValueError(f"{manifest} has no flops_per_second: give the manifest.json of a model that csrm train made")
    reached, devices = notes["flops_per_second"] / 1e12, notes.get("processes", 1)
    found = float(reached / (devices * tflops))
    if not 0 < found <= 1:
        raise ValueError(
            f"{manifest} reached {reached:g} TFLOP/s on {devices} devices of {tflops:g}: --tflops must be the peak of "
            "the device that it was trained on"
        )
    return found


def taken_speed(devices: int, tflops: float, manifest: str | None) -> Speed:
    """Devices of a peak, at the share of it that the trained model of a manifest reached, or at the assumed one.

    Raises:
        ValueError: if there is no such manifest, or it has no throughput below the peak.
    """
    if manifest is None:
        return Speed(devices, tflops)
    if not Path(manifest).is_file():
        raise ValueError(f"{manifest} does not exist: give the manifest.json of a model that csrm train made")
    return Speed(devices, tflops, measured_utilisation(Path(manifest), tflops), f"measured, {manifest}")
