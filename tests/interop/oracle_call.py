# SPDX-License-Identifier: Apache-2.0
"""Runs inside an oracle's own Python: reads a JSON list of calls from standard input, makes
them one after the other, and writes what each returned or raised to standard output."""

import json
import os
import sys
import warnings


def scan(cache_dir):
    from huggingface_hub import scan_cache_dir

    info = scan_cache_dir(cache_dir)
    repos = {
        f"{repo.repo_type}s/{repo.repo_id}": {
            "files": repo.nb_files,
            "refs": sorted(repo.refs),
            "commits": sorted(revision.commit_hash for revision in repo.revisions),
        }
        for repo in info.repos
    }
    return {"repos": repos, "warnings": [str(warning) for warning in info.warnings]}


def inventory(cache_dir):
    """All numbers of the scanner."""
    from huggingface_hub import scan_cache_dir

    info = scan_cache_dir(cache_dir)
    repos = {
        repo.repo_path.name: {
            "id": repo.repo_id,
            "type": repo.repo_type,
            "size": repo.size_on_disk,
            "files": repo.nb_files,
            "accessed": repo.last_accessed,
            "modified": repo.last_modified,
            "revisions": {
                revision.commit_hash: {
                    "size": revision.size_on_disk,
                    "files": revision.nb_files,
                    "refs": sorted(revision.refs),
                    "modified": revision.last_modified,
                }
                for revision in repo.revisions
            },
        }
        for repo in info.repos
    }
    return {"repos": repos, "size": info.size_on_disk,
            "warnings": [str(warning) for warning in info.warnings]}


def list_cache(cache_dir):
    """What `hf cache ls` writes."""
    import contextlib
    import io

    from huggingface_hub.cli.hf import app

    with contextlib.redirect_stdout(io.StringIO()) as table, \
         contextlib.redirect_stderr(io.StringIO()) as messages:
        status = app(["cache", "ls", "--revisions", "--show-warnings", "--cache-dir", cache_dir],
                     standalone_mode=False)
    return {"status": status or 0, "table": table.getvalue(), "messages": messages.getvalue()}


def verify(repo_id, cache_dir, revision):
    from huggingface_hub import HfApi

    result = HfApi().verify_repo_checksums(repo_id=repo_id, cache_dir=cache_dir, revision=revision)
    return {"mismatches": [mismatch["path"] for mismatch in result.mismatches],
            "missing": sorted(result.missing_paths), "extra": sorted(result.extra_paths)}


def delete(cache_dir, revisions):
    from huggingface_hub import scan_cache_dir

    scan_cache_dir(cache_dir).delete_revisions(*revisions).execute()


def look_up(**arguments):
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(**arguments)
    return found if found is None or isinstance(found, str) else "KNOWN_MISSING"


def constants(names):
    from huggingface_hub import constants as values

    return {name: getattr(values, name) for name in names}


def token():
    from huggingface_hub import get_token

    return get_token()


def load_model_parts(repo_id):
    """The steps of a program that uses transformers before it loads weights."""
    from transformers import AutoConfig, AutoTokenizer

    config = AutoConfig.from_pretrained(repo_id)
    tokenizer = AutoTokenizer.from_pretrained(repo_id)
    return {
        "model_type": config.model_type,
        "hidden_size": config.hidden_size,
        "tokens": tokenizer("hello world")["input_ids"],
    }


def cached_file(**arguments):
    from transformers.utils.hub import cached_file as find

    return find(**arguments)


def call(function, arguments):
    if function in globals():
        return globals()[function](**arguments)
    import huggingface_hub

    return getattr(huggingface_hub, function)(**arguments)


def answer(request):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            reply = {"result": call(request["function"], request["arguments"])}
        except Exception as error:
            kinds = [kind.__name__ for kind in type(error).__mro__]
            reply = {"error": kinds[0], "kinds": kinds, "message": str(error)}
    reply["warnings"] = [str(warning.message) for warning in caught]
    return reply


def main():
    replies = [answer(request) for request in json.load(sys.stdin)]
    with os.fdopen(3, "w") as out:
        json.dump(replies, out, default=str)


if __name__ == "__main__":
    main()
