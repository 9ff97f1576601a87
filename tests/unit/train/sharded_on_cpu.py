"""`csrm` for a launcher that shards: Accelerate shards on accelerators only, so this script tells it to on a CPU.

What is sharded, gathered and saved is the package's own code under torch's FSDP2 or DeepSpeed's ZeRO-3. With
`CSRM_TEST_STOP_AT=N` training ends with an error after step N, once.
"""

import os
from typing import Any

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

from csrm.cli import main
from csrm.train import trainer

_new_state, _arguments = AcceleratorState.__init__, trainer.TrainingArguments


def _fsdp_state(self: Any, *arguments: Any, **options: Any) -> None:
    _new_state(self, *arguments, **options)
    if options.get("fsdp_plugin") is not None:
        self.fsdp_plugin = options["fsdp_plugin"]
        self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP


def _on_accelerator(**options: Any) -> Any:
    return _arguments(**{**options, "use_cpu": False})


class StopOnce(trainer.ReturnMemory):
    """Fails after a step in the first run."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == int(os.environ.get("CSRM_TEST_STOP_AT", "-1")):
            raise KeyboardInterrupt(f"stopped at step {state.global_step}")


if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
    trainer.TrainingArguments = _on_accelerator
    PartialState._prepare_backend = lambda *_, **__: ("gloo", DistributedType.MULTI_CPU)
else:
    AcceleratorState.__init__ = _fsdp_state
trainer.ReturnMemory = StopOnce

raise SystemExit(main())
