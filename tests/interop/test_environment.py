# SPDX-License-Identifier: Apache-2.0
"""The Hub's own variables mean to hubcached what they mean to the real client, down to which
spellings of "yes" count."""

import pytest

from world import check_config

TRUTH = ["1", "ON", "on", "Yes", "TRUE", "true", "0", "", "y", "t", " 1", "1 ", "no", "2", "off"]

CASES = (
    [{}]
    + [{"HF_HOME": value} for value in ("/data/hf", "~/hf", "$BASE/hf", "${BASE}/hf/", "$NONE/x")]
    + [{"HF_HUB_CACHE": value} for value in ("/data/hub", "~/hub", "$BASE/hub", "relative/hub")]
    + [
        {"HUGGINGFACE_HUB_CACHE": "/data/old"},
        {"HUGGINGFACE_HUB_CACHE": "/data/old", "HF_HUB_CACHE": "/data/new"},
        {"HF_HOME": "/data/hf", "HF_HUB_CACHE": "/data/hub"},
        {"XDG_CACHE_HOME": "/data/xdg"},
        {"XDG_CACHE_HOME": "/data/xdg", "HF_HOME": "/data/hf"},
        {"HF_HOME": ""},
        {"TRANSFORMERS_CACHE": "/data/transformers"},
        {"HF_ENDPOINT": "https://hub.example/"},
        {"HF_ENDPOINT": "https://hub.example/prefix"},
        {"HF_TOKEN_PATH": "/data/token"},
        {"HF_HOME": "/data/hf", "HF_TOKEN_PATH": "~/token"},
    ]
    + [{"HF_HUB_OFFLINE": value} for value in TRUTH]
    + [{"TRANSFORMERS_OFFLINE": value} for value in TRUTH[:6]]
    + [
        {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1"},
        {"HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "1"},
        {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "0"},
    ]
)

# The name in --check-config, and the real client's constant.
NAMES = {
    "cache-dir": "HF_HUB_CACHE",
    "endpoint": "ENDPOINT",
    "token-file": "HF_TOKEN_PATH",
    "offline": "HF_HUB_OFFLINE",
}


def name_of(case):
    return " ".join(f"{name}={value!r}" for name, value in case.items()) or "nothing set"


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_variables_mean_the_same(case, oracle, tmp_path):
    environment = {"HOME": str(tmp_path), "BASE": "/base"} | case
    endpoint = environment.get("HF_ENDPOINT")

    (reply,) = oracle.replies(("constants", {"names": list(NAMES.values())}),
                              endpoint=endpoint, environment=environment, cwd=tmp_path)
    ours = check_config(environment, cwd=tmp_path)

    assert {name: ours[name] for name in NAMES} == \
        {name: reply["result"][constant] for name, constant in NAMES.items()}


@pytest.mark.parametrize("case", [{"HF_HUB_ETAG_TIMEOUT": "2.5"}, {"HF_HUB_ETAG_TIMEOUT": ""},
                                  {"HF_HUB_DOWNLOAD_TIMEOUT": "soon"}], ids=name_of)
def test_a_timeout_that_is_no_integer_is_refused_by_both(case, newest, tmp_path):
    environment = {"HOME": str(tmp_path)} | case

    (reply,) = newest.replies(("constants", {"names": ["ENDPOINT"]}),
                              endpoint=None, environment=environment)

    assert reply["error"] == "ValueError"
    assert check_config(environment) is None
