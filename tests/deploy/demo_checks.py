# SPDX-License-Identifier: Apache-2.0
"""The demo repo is a real model repo: programs that read such repos can read it."""

import json
import math
import os
import struct
import subprocess
import sys

from support import DEPLOY, Skipped

REPO = DEPLOY / "demo/models/hubcache/demo/main"
BYTES_OF = {"F16": 2}


def _json_of(name):
    return json.loads((REPO / name).read_text())


def _tensors_of(shard):
    """Name -> (type, shape, begin, end) from the head of a safetensors file, and its size."""
    content = (REPO / shard).read_bytes()
    (head,) = struct.unpack_from("<Q", content)
    tensors = json.loads(content[8:8 + head])
    tensors.pop("__metadata__", None)
    return {name: (tensor["dtype"], tensor["shape"], *tensor["data_offsets"])
            for name, tensor in tensors.items()}, len(content) - 8 - head


def the_demo_is_small_enough_for_git():
    sizes = [path.stat().st_size for path in REPO.rglob("*") if path.is_file()]
    assert len(sizes) >= 9 and sum(sizes) < 300 * 1024, sizes


def the_demo_has_git_files_two_lfs_shards_and_a_nested_folder():
    names = {str(path.relative_to(REPO)) for path in REPO.rglob("*") if path.is_file()}
    assert {"README.md", "config.json", "tokenizer.json", "original/params.json"} <= names
    assert len([name for name in names if name.endswith(".safetensors")]) == 2


def the_index_of_the_demo_names_every_tensor_of_its_shards():
    index = _json_of("model.safetensors.index.json")
    found, total = {}, 0
    for shard in set(index["weight_map"].values()):
        tensors, _ = _tensors_of(shard)
        found |= {name: shard for name in tensors}
        total += sum(end - begin for _, _, begin, end in tensors.values())
    assert found == index["weight_map"]
    assert total == index["metadata"]["total_size"]


def the_tensors_of_the_demo_fill_their_shards_without_a_gap():
    for shard in sorted(REPO.glob("*.safetensors")):
        tensors, size = _tensors_of(shard.name)
        place = 0
        for kind, shape, begin, end in sorted(tensors.values(), key=lambda t: t[2]):
            assert begin == place and end - begin == math.prod(shape) * BYTES_OF[kind]
            place = end
        assert place == size


def the_shapes_of_the_demo_are_those_of_its_config():
    config = _json_of("config.json")
    tensors = _tensors_of("model-00001-of-00002.safetensors")[0] | _tensors_of(
        "model-00002-of-00002.safetensors")[0]
    hidden = config["hidden_size"]
    assert tensors["model.embed_tokens.weight"][1] == [config["vocab_size"], hidden]
    assert tensors["lm_head.weight"][1] == [config["vocab_size"], hidden]
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        assert tensors[prefix + "self_attn.q_proj.weight"][1] == [hidden, hidden]
        assert tensors[prefix + "mlp.up_proj.weight"][1] == [
            config["intermediate_size"], hidden]
    assert len(tensors) == 3 + 9 * config["num_hidden_layers"]


def the_config_and_the_tokenizer_of_the_demo_load_in_transformers():
    script = """
import sys
try:
    from transformers import AutoConfig, AutoTokenizer
except ImportError:
    sys.exit(77)
config = AutoConfig.from_pretrained(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
text = "A commit never changes: é"
assert config.model_type == "llama", config
assert len(tokenizer) == config.vocab_size, len(tokenizer)
assert tokenizer.bos_token_id == config.bos_token_id
assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
"""
    done = subprocess.run([sys.executable, "-c", script, str(REPO)], text=True,
                          capture_output=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    if done.returncode == 77:
        raise Skipped("there is no transformers here")
    assert done.returncode == 0, done.stderr
