"""`train` with FSDP2 on CPUs, stopped after its first checkpoint and resumed.

    torchrun --nproc-per-node 2 sharded_train.py OUT train sft ...

accelerate shards on GPUs alone; gloo does it as well, once accelerate takes the processes for those of
GPUs. The last line printed by the first process is what gradients were reduced in.
"""

import os
import shutil
import sys
from pathlib import Path

import torch.distributed.fsdp
from accelerate.state import PartialState
from accelerate.utils import DistributedType

from rearank_agent.cli import main

os.environ |= {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
}
_made, _shard, reduced_in = PartialState.__init__, torch.distributed.fsdp.fully_shard, set()


def as_of_gpus(self, *args, **options):
    _made(self, *args, **options)
    if self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.MULTI_GPU


def sharded(module, **options):
    reduced_in.add(str(options["mp_policy"].reduce_dtype))
    return _shard(module, **options)


PartialState.__init__, torch.distributed.fsdp.fully_shard = as_of_gpus, sharded
out, words = Path(sys.argv[1]), ["rearank-agent", *sys.argv[2:]]


def train(*more):
    sys.argv = [*words, *more]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
    torch.distributed.barrier()


train()
if os.environ["RANK"] == "0":
    shutil.copytree(out, out.with_name("whole"))
    shutil.rmtree(out / "checkpoint-2")
    shutil.rmtree(out / "policy")
torch.distributed.barrier()
train("--resume")
if os.environ["RANK"] == "0":
    print(*sorted(reduced_in))
torch.distributed.destroy_process_group()
