"""How many processes train together, and whether that is what was asked for.

Knows: the variables that launchers set. Does not know: torch, training.
"""

from __future__ import annotations

from collections.abc import Mapping

from .faults import Failure

_RANKS = ("RANK", "LOCAL_RANK", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


def refuse_lone_process(environ: Mapping[str, str]) -> None:
    """Raise Failure where accelerate was asked for several processes and started one.

    `accelerate launch --cpu --num_processes 2` sets the address where the processes meet (it does
    so for more than one alone) and starts a single one without a rank; accelerate 1.15, `prepare_
    simple_launcher_cmd_env`.
    """
    asked = "ACCELERATE_USE_CPU" in environ and "MASTER_PORT" in environ
    if asked and not any(name in environ for name in _RANKS):
        raise Failure(
            "other",
            "One process where several were asked for",
            "accelerate launch started a single process although --num_processes is more than 1.",
            "It does so with --cpu. Use: accelerate launch --num_processes N --config_file "
            "launch/ddp.yaml train.py, or: torchrun --nproc_per_node N train.py",
        )
