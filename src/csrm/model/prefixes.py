"""Keys and values of prefixes that are scored again and again, as a deployed policy is: in memory, and on disk."""

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from csrm.files import atomic
from csrm.model.path import Prefix
from csrm.model.walk import KnownPrefix

FORMAT = 1  # of the files
LIMIT = 2**30  # bytes
UNREAD = frozenset({"_name_or_path", "transformers_version", "dtype", "architectures"})  # what no score depends on


@dataclass
class PrefixCache:
    """Prefixes at hand, the least recently used leave first.

    Attributes:
        folder: where they are kept beyond this process (None: nowhere).
        limit: bytes in memory; one prefix is kept whatever its size.
    """

    folder: Path | None = None
    limit: int = LIMIT
    _held: "OrderedDict[tuple[int, ...], Prefix]" = field(default_factory=OrderedDict)
    _identity: str | None = None

    @property
    def held(self) -> list[Prefix]:
        """The prefixes in memory."""
        return list(self._held.values())

    def used(self, prefixes: Iterable[KnownPrefix]) -> None:
        """Note a use, so that other prefixes leave first."""
        for prefix in prefixes:
            self._held.move_to_end(tuple(prefix.tokens))

    def groups(self, prefixes: Sequence[Sequence[int]], each: int) -> list[list[int]]:
        """Indices of prefixes in groups that memory holds at once; prefixes in memory now come first.

        Equal prefixes are in one group, and one that is larger than the limit has a group of its own.

        Args:
            prefixes: token ids.
            each: bytes of one token's keys and values.
        """
        named = [tuple(prefix) for prefix in prefixes]
        groups: list[list[int]] = []
        last, room = None, 0
        for index in sorted(range(len(named)), key=lambda i: (named[i] not in self._held, named[i])):
            if named[index] != last:
                last, room = named[index], room - each * len(named[index])
                if room < 0 or not groups:
                    groups.append([])
                    room = self.limit - each * len(named[index])
            groups[-1].append(index)
        return groups

    def find(self, model: Any, tokens: Sequence[int]) -> Prefix | None:
        """The prefix, from memory or disk; None if it is in neither."""
        key = tuple(tokens)
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        file = self._file(model, key)
        found = _read(file, key) if file and file.exists() else None
        if found:
            self._hold(found)
        return found

    def keep(self, model: Any, prefix: Prefix) -> None:
        """Keep a prefix that `model` computed, on disk as well where there is a folder."""
        self._hold(prefix)
        file = self._file(model, prefix.tokens)
        if file:
            _write(file, prefix)

    def _hold(self, prefix: Prefix) -> None:
        self._held[prefix.tokens] = prefix
        while len(self._held) > 1 and sum(p.states.nbytes for p in self._held.values()) > self.limit:
            self._held.popitem(last=False)

    def _file(self, model: Any, tokens: tuple[int, ...]) -> Path | None:
        """File of a prefix: named by the weights, the number format and the token ids.

        The tokenizer, the chat template and the order of the sections act on keys and values through the ids alone.
        """
        if self.folder is None:
            return None
        if self._identity is None:
            self._identity = identity(model)
        digest = hashlib.sha256(json.dumps([FORMAT, self._identity, tokens]).encode())
        return self.folder / f"{digest.hexdigest()}.safetensors"


def identity(model: Any) -> str:
    """sha256 of a model's configuration, number format and weights."""
    config = {name: value for name, value in model.config.to_diff_dict().items() if name not in UNREAD}
    digest = hashlib.sha256(json.dumps([config, str(model.dtype)], sort_keys=True, default=str).encode())
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        digest.update(_bytes(weight))
    return digest.hexdigest()


def _bytes(tensor: torch.Tensor) -> Any:
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()


def _write(file: Path, prefix: Prefix) -> None:
    from safetensors.torch import save_file

    notes = {"sha256": hashlib.sha256(_bytes(prefix.states)).hexdigest()}
    with atomic(file) as temporary:
        save_file({"states": prefix.states, "tokens": torch.tensor(prefix.tokens)}, temporary, notes)


def _read(file: Path, tokens: tuple[int, ...]) -> Prefix | None:
    """The prefix in a file; None, and a warning, if it is not whole or another's."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as data:
            states, named = data.get_tensor("states"), data.get_tensor("tokens")
            expected = (data.metadata() or {}).get("sha256")
        if tuple(named.tolist()) != tokens or hashlib.sha256(_bytes(states)).hexdigest() != expected:
            raise ValueError("its content is not what its name says")
    except (SafetensorError, OSError, ValueError) as error:
        logging.getLogger(__name__).warning("%s is ignored and written anew: %s", file, error)
        return None
    return Prefix(tokens, states)
