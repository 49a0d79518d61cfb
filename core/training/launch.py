"""The `launch/` of a run folder: how many GPUs, machines or a Ray cluster train it unchanged.

    ddp.yaml              accelerate: the whole model on each device
    fsdp.yaml             accelerate: FSDP 2, weights sharded layer by layer
    deepspeed.yaml/.json  accelerate: DeepSpeed ZeRO-2, gradients and optimizer sharded
    deepspeed_zero3.*     accelerate: DeepSpeed ZeRO-3, weights sharded too
    ray_job.py            the folder as a job of a Ray cluster
    README.md             the commands

Knows: the launchers' own formats. Does not know: the params, rows or models of a run; precision,
device and batch stay the script's own choice, so that every way of starting trains alike.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from core.store.files import write_atomic

PROCESSES = 2
"""What the accelerate files say until `--num_processes` says otherwise."""

_EVERYWHERE: dict[str, Any] = {
    "compute_environment": "LOCAL_MACHINE",
    "debug": False,
    "machine_rank": 0,
    "main_process_port": 0,  # any free one: two trainings on a machine do not meet
    "main_training_function": "main",
    "mixed_precision": "no",  # the script says bf16 where the device has it, fp32 elsewhere
    "num_machines": 1,
    "num_processes": PROCESSES,
    "rdzv_backend": "static",
    "same_network": True,
    "use_cpu": False,  # true: accelerate starts one process, whatever num_processes says
}
_DDP = {**_EVERYWHERE, "distributed_type": "MULTI_GPU"}
_FSDP = {
    **_EVERYWHERE,
    "distributed_type": "FSDP",
    "fsdp_config": {
        "fsdp_version": 2,
        "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",  # layers: as the model names them
        "fsdp_reshard_after_forward": True,  # full shard
        "fsdp_state_dict_type": "FULL_STATE_DICT",
        "fsdp_cpu_ram_efficient_loading": False,  # every process reads the base from its disk
        "fsdp_offload_params": False,
        "fsdp_activation_checkpointing": False,  # the param `gradient_checkpointing` decides
    },
}
_AUTO = "auto"  # filled in from the script's own arguments


def write_launch(folder: Path) -> list[Path]:
    """Write `launch/` into a run folder; the files written. Idempotent, each file atomic."""
    texts = {
        "ddp.yaml": _as_yaml("Each device holds the whole model.", _DDP),
        "fsdp.yaml": _as_yaml("The weights are sharded over the devices (FSDP 2).", _FSDP),
        "deepspeed.yaml": _as_yaml("DeepSpeed ZeRO-2.", _deepspeed_launcher("deepspeed.json")),
        "deepspeed.json": json.dumps(_deepspeed(2), indent=2) + "\n",
        "deepspeed_zero3.yaml": _as_yaml(
            "DeepSpeed ZeRO-3.", _deepspeed_launcher("deepspeed_zero3.json")
        ),
        "deepspeed_zero3.json": json.dumps(_deepspeed(3), indent=2) + "\n",
        "ray_job.py": _RAY_JOB,
        "README.md": README,
    }
    written = []
    for name, text in texts.items():
        write_atomic(folder / "launch" / name, text)
        written.append(folder / "launch" / name)
    return written


def _as_yaml(comment: str, values: dict[str, Any]) -> str:
    return f"# {comment} See README.md.\n{yaml.safe_dump(values, sort_keys=False)}"


def _deepspeed_launcher(file: str) -> dict[str, Any]:
    return {
        # DeepSpeed's own file decides precision: accelerate refuses to be told twice
        **{key: value for key, value in _EVERYWHERE.items() if key != "mixed_precision"},
        "distributed_type": "DEEPSPEED",
        "deepspeed_config": {
            "deepspeed_config_file": f"launch/{file}",
            "deepspeed_multinode_launcher": "standard",
            "zero3_init_flag": False,
        },
    }


def _deepspeed(stage: int) -> dict[str, Any]:
    """DeepSpeed's configuration; see https://www.deepspeed.ai/docs/config-json/."""
    zero: dict[str, Any] = {
        "stage": stage,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "reduce_bucket_size": _AUTO,
    }
    if stage == 3:
        zero |= {
            "stage3_prefetch_bucket_size": _AUTO,
            "stage3_param_persistence_threshold": _AUTO,
            "stage3_gather_16bit_weights_on_model_save": True,
        }
    return {
        "train_batch_size": _AUTO,
        "train_micro_batch_size_per_gpu": _AUTO,
        "gradient_accumulation_steps": _AUTO,
        "gradient_clipping": _AUTO,
        "bf16": {"enabled": _AUTO},
        "zero_optimization": zero,
    }


_RAY_JOB = '''"""Send this run folder to a Ray cluster: python launch/ray_job.py --help."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(FOLDER))

from lathe_train.ray_job import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(["--folder", str(FOLDER), *sys.argv[1:]]))
'''

README = """# Train this folder

The folder is whole: config.json, data, script. It needs the base model at the path that config.json
names, and Python with torch, transformers, peft, trl, accelerate, datasets (bitsandbytes for int8
and NF4). Lathe itself is not needed. Run the commands in this folder.

    python train.py                                                      # one device
    torchrun --nproc_per_node N train.py                                 # N devices of one machine
    accelerate launch --num_processes N --config_file launch/ddp.yaml train.py         # the same
    accelerate launch --num_processes N --config_file launch/fsdp.yaml train.py        # sharded
    accelerate launch --num_processes N --config_file launch/deepspeed.yaml train.py   # ZeRO-2
    accelerate launch --num_processes N --config_file launch/deepspeed_zero3.yaml train.py
    python launch/ray_job.py --address http://HOST:8265                  # a Ray cluster
    python launch/ray_job.py --address http://HOST:8265 --processes N --gpus N

FSDP and ZeRO-3 are for a model too large for one GPU; ZeRO-2 and DDP for more rows a second.

The same command again goes on from the last complete checkpoint. `touch stop` saves a checkpoint
and ends it. `python train.py --fresh` starts over. Exit codes: 0 done, 3 stopped, 1 failed
(result.json says why), 4 another process trains here.

With N processes a step sees N times as many rows (batch x accumulation x N), and an epoch has N
times fewer steps. To train exactly as one process would, divide `batch_size` in config.json by N.

## What was tried, and what was not

Lathe's tests run this folder with `python`, with `torchrun` and `accelerate launch` over
`ddp.yaml` as two CPU processes (gloo; each asserts that two took part), and as a job of a Ray
instance on the same machine.

Not tried, for want of GPUs: more than one GPU, `fsdp.yaml`, the DeepSpeed files, several machines.
Tests check only that accelerate reads those files as meant. On a machine without a GPU `fsdp.yaml`
trains as `ddp.yaml` does: accelerate shards on accelerators alone. DeepSpeed must be
installed (`pip install deepspeed`).

`accelerate launch --cpu --num_processes 2` starts one process and says nothing: train.py refuses
to run so. Use one of the lines above; they work on a CPU too.

## Ray

The cluster trains in a copy of this folder, so it must find the base model at the path in
config.json, and the packages in its Python (`--python PATH`). Without checkpoints the folder is
small; Ray takes up to 512 MiB. Where the cluster sees this folder (the same machine, a shared disk)
events come back while it trains and adapter, checkpoints and result at the end; elsewhere the end
of the log says where they are. Ctrl-C stops the job. Ray asks for a token if its authentication is
on: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH), as for `ray job submit`.
"""
