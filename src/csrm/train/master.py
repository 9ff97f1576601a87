"""AdamW that keeps a float32 master copy of low-precision weights."""

from collections.abc import Iterable
from typing import Any

import torch


class MasterAdamW(torch.optim.Optimizer):
    """AdamW on float32 copies of the parameters, copied back after each step.

    Weights in bfloat16 make the matrix products fast on processors that have them; updates smaller than a bfloat16
    step would vanish, so they are accumulated in float32. The copies are part of the state, so a resumed run equals
    an uninterrupted one. Parameters are stepped one by one: only one gradient exists in float32 at a time.
    """

    def __init__(self, params: Iterable[torch.nn.Parameter], **options: Any) -> None:
        parameters = list(params)
        super().__init__(parameters, dict(lr=options["lr"]))
        self._visible = parameters
        self._masters = [p.detach().clone().float() for p in parameters]
        self._inner = [torch.optim.AdamW([m], fused=True, **options) for m in self._masters]

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update the masters from the visible gradients, then round them back."""
        for inner, master, parameter in zip(self._inner, self._masters, self._visible, strict=True):
            if parameter.grad is None:
                continue
            master.grad = parameter.grad.float()
            inner.param_groups[0]["lr"] = self.param_groups[0]["lr"]
            inner.step()
            master.grad = None
            parameter.copy_(master)

    def state_dict(self) -> dict[str, Any]:
        """The outer groups (the schedule's learning rate), the inner state and the masters."""
        return {**super().state_dict(), "inner": [i.state_dict() for i in self._inner], "masters": self._masters}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        super().load_state_dict({key: state_dict[key] for key in ("state", "param_groups")})
        for inner, saved in zip(self._inner, state_dict["inner"], strict=True):
            inner.load_state_dict(saved)
        for master, saved in zip(self._masters, state_dict["masters"], strict=True):
            master.copy_(saved)
