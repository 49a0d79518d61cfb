"""Loading: from a registered model to the spec of a worker, each auto decided, and whether it fits.

Knows: choices, devices, memory. Does not know: who may load, how a model is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import Conflict, Invalid
from core.models import choices as choosing
from core.models import devices
from core.models.choices import Choice
from core.models.devices import Device
from core.models.forecast import Forecast, forecast
from core.models.pool import WorkerPool
from core.models.registry import Registry
from core.models.spec import WorkerSpec
from core.settings import Settings
from core.store.database import Row

DEFAULT_CONTEXT = 2048
"""Tokens of one request, prompt and answer, unless the model has less or more is asked for."""


@dataclass(frozen=True, slots=True)
class Loading:
    """What the rows of the registry can be loaded as, on this machine and now."""

    registry: Registry
    settings: Settings
    pool: WorkerPool

    def choices(self, row: Row, device: str) -> list[Choice]:
        """Every engine and quantization for a model on a device, possible or not."""
        return list(choosing.choices(row, self._device(device)))

    def resolve(
        self,
        row: Row,
        engine: str,
        quantization: str,
        device: str,
        purpose: str,
        context_length: int | None,
    ) -> WorkerSpec:
        """The spec for what is asked, as `Models.resolve` says."""
        if row["archived_at"] is not None:
            raise Conflict(f"{row['name']} is archived.")
        if row["source"] == "adapter":
            _check_base(row)
        options = [
            choice
            for choice in self.choices(row, device)
            if engine in ("auto", choice.engine) and quantization in ("auto", choice.quantization)
        ]
        if not options:
            raise Invalid(
                f"{row['name']} cannot be loaded by {engine} as {quantization}.",
                field="quantization" if engine == "auto" else "engine",
            )

        def fits(choice: Choice) -> bool:
            spec = self.spec(row, choice, "", context_length)
            return self.pool.find(spec) is not None or self.forecast(row, spec).fits

        chosen, why = choosing.pick(
            options,
            purpose=purpose,
            device=self._device(device),
            calibrations=self.registry.calibrations(row["id"]),
            fits=fits,
        )
        if "auto" not in (engine, quantization):
            why = "as asked"
        return self.spec(row, chosen, f"{chosen.label}: {why}.", context_length)

    def to_measure(
        self, row: Row, ways: Sequence[tuple[str, str]] | None, device: str
    ) -> list[WorkerSpec]:
        """The given ways; without, every one that can be loaded, fits and is not hopeless."""
        specs = []
        for choice in self.choices(row, device):
            asked = ways is not None and (choice.engine, choice.quantization) in ways
            wanted = asked or (ways is None and choice.note != choosing.SLOW_BF16)
            if choice.why_not is None and wanted:
                spec = self.spec(row, choice, "", None)
                if asked or self.forecast(row, spec).fits:
                    specs.append(spec)
        return specs

    def spec(self, row: Row, choice: Choice, why: str, context_length: int | None) -> WorkerSpec:
        """What a worker is told."""
        most = int(row["context_length"] or context_length or DEFAULT_CONTEXT)
        remote = choice.engine == "endpoint"
        return WorkerSpec(
            model_id=row["id"],
            model_name=row["name"],
            engine=choice.engine,
            quantization=choice.quantization,
            kind=row["kind"],
            device=choice.device,
            # an endpoint's spec carries the model's name there in place of a folder
            path=row["revision"] if remote else row["path"],
            gguf_path=row["gguf_path"] if choice.engine == "llama.cpp" else None,
            adapter_path=row["adapter_path"] if choice.engine == "transformers" else None,
            base_url=row["location"] if remote else None,
            threads=self.settings.threads,
            context_length=min(most, context_length or DEFAULT_CONTEXT),
            idle_minutes=self.settings.idle_unload_minutes,
            script=row["location"] if choice.engine == "scripted" else None,
            why=why,
        )

    def forecast(self, row: Row, spec: WorkerSpec) -> Forecast:
        """What loading would take, against what is free now."""
        device = devices.device("cpu" if spec.device == "remote" else spec.device)
        alive = [state for state in self.pool.states() if state.alive]
        loaded = {s.spec.label: s.resident_bytes or 0 for s in alive if s.key != spec.key}
        free = device.free_bytes
        limit = self.settings.memory_limit_gb
        if limit:
            free = min(free, int(limit * 1e9) - sum(loaded.values()))
        return forecast(row, spec, device, free_bytes=max(0, free), loaded=loaded)

    def _device(self, name: str) -> Device:
        return devices.pick(self.settings.device if name == "auto" else name)


def _check_base(row: Row) -> None:
    """Raise what is wrong where an adapter has lost its base or its own files."""
    if row["base_name"] is None:
        raise Conflict(f"The base of {row['name']} is not in the registry any more.")
    if row["base_archived_at"] is not None:
        raise Conflict(
            f"{row['name']} needs its base {row['base_name']}, which is archived.",
            hint="Add the base again and the adapter with it, or export the adapter merged.",
        )
    for what, path in (("its base", row["path"]), ("the adapter", row["adapter_path"])):
        if not path or not Path(path).is_dir():
            raise Conflict(
                f"{row['name']} cannot be loaded: the folder of {what} is not there: {path}.",
                hint="Put it back, or add the model again.",
            )
