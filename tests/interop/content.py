# SPDX-License-Identifier: Apache-2.0
"""The repos of the test hub: one model with every kind of file, one of each other type, and a
tiny model that transformers can load. Folders are named for revisions, "/" as %2F."""

import json

GIT_FILE = b'{"answer": 42}\n'
LFS_FILE = bytes(range(256)) * 1024  # 256 KiB
BIG_FILE = bytes(i * i % 251 for i in range(256)) * 32 * 1024  # 8 MiB

FILES = {
    "config.json": GIT_FILE,
    "README.md": "# Größe: 模型\n".encode(),
    "empty.txt": b"",
    "model.safetensors": LFS_FILE,
    "same-bytes.safetensors": LFS_FILE,
    "nested/deep/down/file.txt": b"far below\n",
    "nested/weights.bin": LFS_FILE[:100000],
    "sub/tokenizer.txt": b"a b c\n",
    "größe und 模型 (1)+%41#.txt": b"a name that has to be quoted\n",
    ".gitattributes": b"*.bin filter=lfs\n",
}

EMPTY_BLOB = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
MODEL = "org/model"
TINY = "org/tiny-bert"
BIG = "org/big"


def tokenizer():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world"]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": words[i], "single_word": False, "lstrip": False,
             "rstrip": False, "normalized": False, "special": True} for i in range(5)
        ],
        "normalizer": {"type": "BertNormalizer", "clean_text": True,
                       "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100,
                  "vocab": {word: i for i, word in enumerate(words)}},
    }


TINY_FILES = {
    "config.json": json.dumps({
        "architectures": ["BertModel"], "model_type": "bert", "hidden_size": 8,
        "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 16,
        "vocab_size": 7, "max_position_embeddings": 32}).encode(),
    "tokenizer.json": json.dumps(tokenizer()).encode(),
    "tokenizer_config.json": json.dumps({"tokenizer_class": "PreTrainedTokenizerFast",
                                         "unk_token": "[UNK]", "pad_token": "[PAD]"}).encode(),
    "model.safetensors": LFS_FILE,
}

BIG_FILES = {
    "config.json": GIT_FILE,
    "nested/readme.txt": b"small\n",
    "first.safetensors": BIG_FILE,
    "second.safetensors": BIG_FILE[:-1],
    "third.bin": BIG_FILE[:-2],
}

REPOS = {
    f"models/{MODEL}/main": FILES,
    f"models/{MODEL}/feature%2Fnew": {"config.json": b'{"answer": 43}\n', "new.txt": b"new\n"},
    f"models/{MODEL}/v1.0": {"config.json": b'{"answer": 41}\n'},
    f"models/{MODEL}/refs%2Fpr%2F1": FILES | {"config.json": b'{"answer": 44}\n'},
    f"models/{TINY}/main": TINY_FILES,
    f"models/{BIG}/main": BIG_FILES,
    "datasets/org/data/main": {"data.csv": b"a,b\n1,2\n", "big.bin": LFS_FILE},
    "spaces/org/app/main": {"app.py": b"print('hello')\n"},
    "kernels/org/kernel/main": {"build/kernel.py": b"pass\n"},
}


def write(folder):
    for place, files in REPOS.items():
        for name, content in files.items():
            path = folder / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return folder
